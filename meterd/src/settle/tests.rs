//! Settling and re-pricing over a real ledger and the real meter: once each, also after a restart.
