//! The decision about one credential, and the obstacles to a renewal.

use strum::IntoStaticStr;

use crate::format::text;
use crate::model::Validity;

/// The decision, with a reason for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Renew it now.
    Renew {
        /// The reason.
        because: String,
        /// Validity of the new certificate.
        validity: Validity,
    },
    /// Leave it alone, for this reason.
    Leave(String),
    /// Another credential with the same files, which has this name, is renewed.
    With(String),
    /// A renewal is due and cannot be done.
    Blocked {
        /// The reason.
        because: String,
        /// The kind of the reason.
        obstacle: Obstacle,
    },
    /// The file does not exist. Nothing is created that was not there.
    Missing,
    /// The file exists and cannot be read, for this reason.
    Unreadable(String),
}

/// An obstacle to a renewal, for machines. New ones may be added; their meanings never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Obstacle {
    /// The CA ends before a renewal would extend the credential's life by a day.
    #[strum(serialize = "ca_ends_first")]
    AuthorityEndsFirst,
    /// A renewal would gain less than a day.
    NothingToGain,
    /// The key of the CA, or the whole CA, is kept elsewhere.
    #[strum(serialize = "ca_key_elsewhere")]
    AuthorityElsewhere,
    /// The clock may be wrong.
    Clock,
    /// The CA cannot be read, or is not allowed to sign.
    #[strum(serialize = "ca_unusable")]
    AuthorityUnusable,
    /// A part of the old certificate or of its files could not be kept.
    NotKept,
    /// A file is shared with a credential whose pair would no longer match.
    SharedFile,
    /// A file cannot be replaced: it is immutable, or a mount.
    NotReplaceable,
}

impl Obstacle {
    /// Returns true for a fault of the node, and false if it is managed elsewhere or a renewal
    /// would gain nothing.
    pub fn is_fault(self) -> bool {
        match self {
            Self::AuthorityEndsFirst | Self::NothingToGain | Self::AuthorityElsewhere | Self::Clock => false,
            Self::AuthorityUnusable | Self::NotKept | Self::SharedFile | Self::NotReplaceable => true,
        }
    }
}

impl Decision {
    /// Returns true if a fault of the node keeps it from being read or renewed.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Blocked { obstacle, .. } => obstacle.is_fault(),
            Self::Unreadable(_) => true,
            Self::Renew { .. } | Self::With(_) | Self::Leave(_) | Self::Missing => false,
        }
    }

    /// Returns the decision in one word, and the reason in a sentence.
    pub fn words(&self) -> (&'static str, String) {
        match self {
            Self::Renew { because, validity } => (
                "renew",
                format!("{because}; the new one ends {}", text::date(validity.not_after)),
            ),
            Self::With(other) => ("renew", format!("its files are those of {other}")),
            Self::Leave(reason) => ("leave", reason.clone()),
            Self::Blocked { because, .. } => ("blocked", because.clone()),
            Self::Missing => (
                "missing",
                "its file is not there, and nothing is made that was not there".into(),
            ),
            Self::Unreadable(reason) => ("unreadable", reason.clone()),
        }
    }
}
