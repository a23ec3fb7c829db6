//! The ledger over real files: torn ends, damage, gaps, owners, reading by position.
