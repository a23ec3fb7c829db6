//! What the demo's fleet does: its resources, its agents, and the numbers that a seed makes of them. No I/O.

/// The namespace of everything in the demo.
pub(super) const NAMESPACE: &str = "demo";

/// A budget over the whole fleet, and one for each run of the research agent.
pub(super) const RESOURCES: &str = "\
apiVersion: joch.dev/v1alpha1
kind: Budget
metadata: { name: fleet-daily, namespace: demo }
spec:
  scope: { namespaces: [demo] }
  limits: { dailyUsd: 25 }
  enforcement: { onSoftLimit: alert, onHardLimit: deny, softLimitPct: 0.8 }
---
apiVersion: joch.dev/v1alpha1
kind: Agent
metadata: { name: research, namespace: demo }
spec:
  budgets: { perRunUsd: 0.75, onHardLimit: terminate, softLimitPct: 0.5 }
";

/// One run of one agent.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) execution: String,
    pub(super) agent: &'static str,
    pub(super) team: &'static str,
    pub(super) provider: &'static str,
    pub(super) model: &'static str,
    pub(super) tool: Option<&'static str>,
    /// Model calls it means to make.
    pub(super) steps: u32,
    pub(super) pause_ms: u64,
    /// Prompt tokens of its first call, and how many each later call adds: a transcript grows.
    pub(super) prompt_tokens: u64,
    pub(super) prompt_growth: u64,
    pub(super) output_tokens: u64,
    pub(super) random: Random,
}

/// SplitMix64: the same seed, the same fleet.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number in `low..=high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }
}

/// The fleet of one round. Round 0 has fixed names; later rounds number theirs.
pub(super) fn fleet(seed: u64, round: u32) -> Vec<Plan> {
    let name = |name: &str| if round == 0 { name.to_owned() } else { format!("{name}-{round}") };
    let mut random = Random(seed.wrapping_add(u64::from(round) << 32));
    let mut seed_of = || Random(random.next());
    let calm = |execution: &str, agent, team, provider, model, tool, random| Plan {
        execution: name(execution),
        agent,
        team,
        provider,
        model,
        tool,
        steps: 12,
        pause_ms: 350,
        prompt_tokens: 1_800,
        prompt_growth: 450,
        output_tokens: 400,
        random,
    };
    let haiku = ("anthropic", "claude-haiku-4-5");
    vec![
        calm("triage-1041", "support-triage", "support", haiku.0, haiku.1, Some("search_tickets"), seed_of()),
        calm("triage-1042", "support-triage", "support", haiku.0, haiku.1, None, seed_of()),
        calm("invoice-77", "billing", "finance", "openai", "gpt-4o-mini", Some("read_invoice"), seed_of()),
        calm("release-notes", "writer", "platform", "google", "gemini-2.5-flash", None, seed_of()),
        Plan {
            steps: 200,
            pause_ms: 150,
            prompt_tokens: 9_000,
            prompt_growth: 4_000,
            output_tokens: 1_500,
            ..calm(
                "research-wild",
                "research",
                "platform",
                "anthropic",
                "claude-sonnet-4-5",
                Some("web_fetch"),
                seed_of(),
            )
        },
    ]
}
