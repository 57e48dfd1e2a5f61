//! What becomes of one credential, and what stands in the way.

use crate::format::text;
use crate::model::Validity;

/// What is to be done, with the reason for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Renew it now.
    Renew {
        /// Why.
        because: String,
        /// What the new one will be good for.
        validity: Validity,
    },
    /// Leave it alone.
    Leave(String),
    /// Its files are those of this credential, which is renewed: it comes with it.
    With(String),
    /// It should be renewed and cannot be.
    Blocked {
        /// Why.
        because: String,
        /// The same as one of a few kinds.
        obstacle: Obstacle,
    },
    /// Its file is not there; nothing is made that was not there.
    Missing,
    /// Its file is there and cannot be read.
    Unreadable(String),
}

/// What stands in the way of a renewal: a small vocabulary for machines, which grows and never changes its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Its CA ends before a renewal would gain a day.
    AuthorityEndsFirst,
    /// A renewal would gain less than a day.
    NothingToGain,
    /// The key of its CA, or the CA as a whole, is kept elsewhere.
    AuthorityElsewhere,
    /// The clock may be wrong.
    Clock,
    /// Its CA must not sign, or cannot be read.
    AuthorityUnusable,
    /// Something of the old certificate or of its files could not be kept.
    NotKept,
    /// It shares a file with a credential whose pair would no longer match.
    SharedFile,
    /// Its file cannot be replaced: it is immutable, say, or a mount.
    NotReplaceable,
}

impl Obstacle {
    /// Something is wrong with the node (as opposed to: it is managed elsewhere, or there is nothing to gain).
    pub fn is_fault(self) -> bool {
        match self {
            Self::AuthorityEndsFirst | Self::NothingToGain | Self::AuthorityElsewhere | Self::Clock => false,
            Self::AuthorityUnusable | Self::NotKept | Self::SharedFile | Self::NotReplaceable => true,
        }
    }

    /// As metrics write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::AuthorityEndsFirst => "ca_ends_first",
            Self::NothingToGain => "nothing_to_gain",
            Self::AuthorityElsewhere => "ca_key_elsewhere",
            Self::Clock => "clock",
            Self::AuthorityUnusable => "ca_unusable",
            Self::NotKept => "not_kept",
            Self::SharedFile => "shared_file",
            Self::NotReplaceable => "not_replaceable",
        }
    }
}

impl Decision {
    /// It cannot be read, or should be renewed and cannot be, through a fault of the node.
    pub fn is_fault(&self) -> bool {
        match self {
            Self::Blocked { obstacle, .. } => obstacle.is_fault(),
            Self::Unreadable(_) => true,
            Self::Renew { .. } | Self::With(_) | Self::Leave(_) | Self::Missing => false,
        }
    }

    /// One word for it, and the reason for people.
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
