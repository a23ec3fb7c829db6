//! The names of usage: their stable codes, families, and which totals contain them. The codes are part of the ledger's
//! format: never renumber, never reuse.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A unit family: its rates share one block (`per`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// Tokens, per 1,000,000.
    Tokens,
    /// Characters, per 1,000,000.
    Characters,
    /// Pixels, per 1,000,000.
    Pixels,
    /// Requests and messages, per 1,000.
    Requests,
    /// Searches and other tools that run inside a model call, per 1,000.
    ToolCalls,
    /// Document pages, per 1,000.
    DocumentPages,
    /// Seconds, per 3,600: the rate is per hour.
    Durations,
    /// Minutes, per 1.
    Minutes,
    /// Images, per 1.
    Images,
    /// Calls of a tool, per 1.
    Calls,
    /// Sessions, per 1.
    Sessions,
    /// Provider-defined units such as guardrail policy units, per 1.
    Units,
    /// Tokens stored for an hour, per 1,000,000.
    TokenHours,
}

impl Family {
    /// Every family.
    pub const ALL: &'static [Self] = &[
        Self::Tokens,
        Self::Characters,
        Self::Pixels,
        Self::Requests,
        Self::ToolCalls,
        Self::DocumentPages,
        Self::Durations,
        Self::Minutes,
        Self::Images,
        Self::Calls,
        Self::Sessions,
        Self::Units,
        Self::TokenHours,
    ];

    /// Its name in a price table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Characters => "characters",
            Self::Pixels => "pixels",
            Self::Requests => "requests",
            Self::ToolCalls => "tool_calls",
            Self::DocumentPages => "document_pages",
            Self::Durations => "durations",
            Self::Minutes => "minutes",
            Self::Images => "images",
            Self::Calls => "calls",
            Self::Sessions => "sessions",
            Self::Units => "units",
            Self::TokenHours => "token_hours",
        }
    }

    /// The family of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|family| family.as_str() == name)
    }

    /// The block of a rate where a table does not say another.
    #[must_use]
    pub const fn default_per(self) -> u32 {
        match self {
            Self::Tokens | Self::Characters | Self::Pixels | Self::TokenHours => 1_000_000,
            Self::Requests | Self::ToolCalls | Self::DocumentPages => 1_000,
            Self::Durations => 3_600,
            Self::Minutes | Self::Images | Self::Calls | Self::Sessions | Self::Units => 1,
        }
    }

    /// May a quantity have a fraction?
    #[must_use]
    pub const fn is_whole(self) -> bool {
        !matches!(self, Self::Durations | Self::Minutes | Self::TokenHours)
    }
}

macro_rules! usage_keys {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $family:ident, [$($wider:ident),*];)*) => {
        /// A name of usage, as in the native event: an inclusive total, one of its subsets, or another unit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum UsageKey {
            $($(#[$doc])* $variant = $code,)*
        }

        impl UsageKey {
            /// Every name, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name of a code of the binary form.
            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name as events and price tables spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The key of a name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The family whose block its rate uses.
            #[must_use]
            pub const fn family(self) -> Family {
                match self {
                    $(Self::$variant => Family::$family,)*
                }
            }

            /// The totals that contain it, in the order in which a leaf without a rate of its own falls back to them:
            /// cache lifetime → cache → modality → direction total.
            #[must_use]
            pub const fn wider(self) -> &'static [Self] {
                match self {
                    $(Self::$variant => &[$(Self::$wider),*],)*
                }
            }
        }
    };
}

usage_keys! {
    /// Prompt tokens, all of them: fresh, cached and written, of every modality.
    InputTokens = 1, "input_tokens", Tokens, [];
    /// Completion tokens, all of them, with reasoning.
    OutputTokens = 2, "output_tokens", Tokens, [];
    /// Prompt tokens read from a cache.
    CacheReadTokens = 3, "cache_read_tokens", Tokens, [InputTokens];
    /// Prompt tokens written to a cache, whatever their lifetime.
    CacheWriteTokens = 4, "cache_write_tokens", Tokens, [InputTokens];
    /// Written to a cache for 5 minutes.
    CacheWrite5mTokens = 5, "cache_write_5m_tokens", Tokens, [CacheWriteTokens, InputTokens];
    /// Written to a cache for 30 minutes.
    CacheWrite30mTokens = 6, "cache_write_30m_tokens", Tokens, [CacheWriteTokens, InputTokens];
    /// Written to a cache for an hour.
    CacheWrite1hTokens = 7, "cache_write_1h_tokens", Tokens, [CacheWriteTokens, InputTokens];
    /// Written to a cache for 12 hours.
    CacheWrite12hTokens = 8, "cache_write_12h_tokens", Tokens, [CacheWriteTokens, InputTokens];
    /// Written to a cache for 24 hours.
    CacheWrite24hTokens = 9, "cache_write_24h_tokens", Tokens, [CacheWriteTokens, InputTokens];
    /// Prompt tokens of audio.
    InputAudioTokens = 10, "input_audio_tokens", Tokens, [InputTokens];
    /// Prompt tokens of images.
    InputImageTokens = 11, "input_image_tokens", Tokens, [InputTokens];
    /// Prompt tokens of video.
    InputVideoTokens = 12, "input_video_tokens", Tokens, [InputTokens];
    /// Audio read from a cache: within both the cache reads and the audio.
    CacheAudioReadTokens = 13, "cache_audio_read_tokens", Tokens, [CacheReadTokens, InputAudioTokens, InputTokens];
    /// Images read from a cache: within both the cache reads and the images.
    CacheImageReadTokens = 14, "cache_image_read_tokens", Tokens, [CacheReadTokens, InputImageTokens, InputTokens];
    /// Video read from a cache: within both the cache reads and the video.
    CacheVideoReadTokens = 15, "cache_video_read_tokens", Tokens, [CacheReadTokens, InputVideoTokens, InputTokens];
    /// Audio written to a cache: within both the cache writes and the audio.
    CacheAudioWriteTokens = 16, "cache_audio_write_tokens", Tokens, [CacheWriteTokens, InputAudioTokens, InputTokens];
    /// Completion tokens of audio.
    OutputAudioTokens = 20, "output_audio_tokens", Tokens, [OutputTokens];
    /// Completion tokens of images.
    OutputImageTokens = 21, "output_image_tokens", Tokens, [OutputTokens];
    /// Completion tokens of video.
    OutputVideoTokens = 22, "output_video_tokens", Tokens, [OutputTokens];
    /// Completion tokens spent on reasoning.
    OutputReasoningTokens = 23, "output_reasoning_tokens", Tokens, [OutputTokens];
    /// Completion tokens spent on citations.
    OutputCitationTokens = 24, "output_citation_tokens", Tokens, [OutputTokens];
    /// Characters given, as speech synthesis counts.
    InputCharacters = 30, "input_characters", Characters, [];
    /// Characters returned.
    OutputCharacters = 31, "output_characters", Characters, [];
    /// Seconds of audio, both ways.
    AudioSeconds = 40, "audio_seconds", Durations, [];
    /// Seconds of audio given.
    InputAudioSeconds = 41, "input_audio_seconds", Durations, [AudioSeconds];
    /// Seconds of audio returned.
    OutputAudioSeconds = 42, "output_audio_seconds", Durations, [AudioSeconds];
    /// Seconds of video given.
    InputVideoSeconds = 43, "input_video_seconds", Durations, [];
    /// Seconds of video returned.
    OutputVideoSeconds = 44, "output_video_seconds", Durations, [];
    /// How long a tool ran.
    DurationSeconds = 45, "duration_seconds", Durations, [];
    /// Seconds of dedicated capacity.
    ProvisionedSeconds = 46, "provisioned_seconds", Durations, [];
    /// Images given.
    InputImages = 50, "input_images", Images, [];
    /// Images returned.
    ImagesOut = 51, "images_out", Images, [];
    /// Pixels given.
    InputPixels = 52, "input_pixels", Pixels, [];
    /// Pixels returned.
    OutputPixels = 53, "output_pixels", Pixels, [];
    /// Web searches made by the model.
    WebSearches = 60, "web_searches", ToolCalls, [];
    /// Searches of stored files.
    StorageSearches = 61, "storage_searches", ToolCalls, [];
    /// Searches of a reranker.
    RerankSearches = 62, "rerank_searches", ToolCalls, [];
    /// Queries of a search engine.
    SearchQueries = 63, "search_queries", ToolCalls, [];
    /// Answers grounded in a map.
    MapsSearches = 64, "maps_searches", ToolCalls, [];
    /// Tools called by the model.
    ToolCalls = 65, "tool_calls", ToolCalls, [];
    /// Requests; one a call where nothing else is said.
    Requests = 70, "requests", Requests, [];
    /// Text messages to a voice agent.
    InputTextMessages = 71, "input_text_messages", Requests, [];
    /// Calls of a tool.
    Calls = 72, "calls", Calls, [];
    /// Pages of documents, annotated or not.
    InputDocumentPages = 80, "input_document_pages", DocumentPages, [];
    /// Pages of documents that were annotated.
    InputAnnotatedDocumentPages = 81, "input_annotated_document_pages", DocumentPages, [InputDocumentPages];
    /// Sessions of a code interpreter.
    CodeSessions = 90, "code_sessions", Sessions, [];
    /// Minutes of a person's time.
    Minutes = 91, "minutes", Minutes, [];
    /// Policy units of a guardrail.
    GuardrailUnits = 92, "guardrail_units", Units, [];
    /// Tokens kept in a cache, times hours.
    CacheStorageTokenHours = 93, "cache_storage_token_hours", TokenHours, [];
}

impl UsageKey {
    /// Kinds of input, and what of each was read from a cache.
    pub(crate) const KINDS_READ: &'static [(Self, Self)] = &[
        (Self::InputAudioTokens, Self::CacheAudioReadTokens),
        (Self::InputImageTokens, Self::CacheImageReadTokens),
        (Self::InputVideoTokens, Self::CacheVideoReadTokens),
    ];

    /// Its stable code in binary forms.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// Must its quantity be whole?
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.family().is_whole()
    }

    /// Is it within `total`, or is it `total` itself?
    #[must_use]
    pub fn is_within(self, total: Self) -> bool {
        self == total || self.wider().contains(&total)
    }
}

impl fmt::Display for UsageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for UsageKey {
    /// The name where people read, the stable code elsewhere.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.as_str())
        } else {
            serializer.serialize_u16(self.code())
        }
    }
}

impl<'de> Deserialize<'de> for UsageKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            Self::parse(&name).ok_or_else(|| serde::de::Error::custom(format_args!("unknown usage name {name:?}")))
        } else {
            let code = u16::deserialize(deserializer)?;
            Self::from_code(code).ok_or_else(|| serde::de::Error::custom(format_args!("unknown usage code {code}")))
        }
    }
}
