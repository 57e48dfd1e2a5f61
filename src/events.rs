//! The kinds of events that the journal tells apart, by their `MESSAGE_ID` (systemd.journal-fields(7)): 128 random bits each, never changed and
//! never used again. `systemd/kubecertd.catalog` explains each of them to `journalctl -x`, and a test compares the two.
//!
//! Beside it an event has what it is about as fields, in capitals there: `CERTIFICATE`, `NOT_AFTER` (RFC 3339), `ACTION`, `READER`, `METHOD`,
//! `SECONDS`, `REASON`, `BACKUP`, `DIRECTORY`, `HOOK`, `OUTCOME`, `CYCLE_ID` (of all events of one
//! cycle) and counts. No name is one of systemd's own.

/// The daemon has looked for the first time and waits.
pub const READY: &str = "1f9fffa48f154262a3b869643244473b";
/// The daemon was asked to end, and ends.
pub const ENDED: &str = "468dc0592f3947ab9eaac9bb9b72df34";
/// The configuration was read anew and is in effect.
pub const RELOADED: &str = "bffcde7ac9eb44ce9b056fff244fbeb7";
/// The new configuration is bad, one event a problem; the old one stays in effect.
pub const NOT_RELOADED: &str = "7577bb63bbe04de9910e1dee71385cdc";
/// A directory that a cycle would write to is read-only.
pub const NOT_WRITABLE: &str = "8d5db245b4a548db9f581c25fb75f008";
/// There is nothing to look after on this node yet.
pub const NO_CONTROL_PLANE: &str = "e8cd76b142ae4849be45f6b93f1e528b";
/// What a look has found: what is due, or what will be first.
pub const LOOKED: &str = "7cd0469170f44f18b28f699ad9df475b";
/// The first look on this node: what the next cycle would do.
pub const FIRST_LOOK: &str = "3fa281c73b984bf9bd009f45575b1e49";
/// A certificate ends soon and is not about to be renewed. At most once a day.
pub const EXPIRING: &str = "410ed669deb44097b17deaaf3050398a";
/// A certificate has expired. At most once a day.
pub const EXPIRED: &str = "9c2b5b4ce288491faa50dbd2ff8111a4";
/// A credential cannot be read, or cannot be renewed. At most once a day for the same reason.
pub const FAULT: &str = "e5a47af919e14829a36665ac3cfbf83e";
/// A cycle was put off: somebody else is at work, or the clock is doubted.
pub const DEFERRED: &str = "cfe27315095d4db9b918c93ab639b09b";
/// It is not this node's turn in its cluster: another node is at work or has not ended, or the cluster could not bear it.
pub const BLOCKED: &str = "587da8327d3943808affa3c253e7ec9e";
/// What an interrupted cycle left was finished or undone.
pub const RECOVERED: &str = "32b824590d394a86ab1afa95d64cd19e";
/// What an interrupted cycle left could neither be finished nor undone.
pub const NOT_RECOVERED: &str = "cc67b85178974ae79d27734598128bd3";
/// A backup was taken.
pub const BACKED_UP: &str = "2d3c297d20a9498b82830eca7c97e2db";
/// A backup could not be taken.
pub const NOT_BACKED_UP: &str = "70e55c7df5c9456b843e99aef3da8022";
/// A credential was renewed and is in place.
pub const RENEWED: &str = "f96b10582c4b4116a72cb91deeb4801e";
/// A reader is being restarted.
pub const RESTARTING: &str = "ff4e25e059b24297919686311c4db73e";
/// A reader was restarted and uses the credentials that are in place.
pub const RESTARTED: &str = "6d24db6c533a4a8896fc415880633d1b";
/// A reader still has to be restarted.
pub const RESTART_PENDING: &str = "9bc7fb438d014ca2be5190fedd23ab32";
/// The one line about a cycle that went well.
pub const CYCLE_DONE: &str = "26c7e6b328cd454693a9de5aeea29107";
/// The one line about a cycle that left something out.
pub const CYCLE_PARTLY: &str = "9125988ad2bc4c8b9229fcdcbeaf9745";
/// The one line about a cycle that failed; the node is as it was before.
pub const CYCLE_FAILED: &str = "1f2cf9c138c54237a2be17787dd3b4dd";
/// The one line about a cycle that failed and could not be put back: a person is needed.
pub const NOT_PUT_BACK: &str = "c1370d10aacb407b860810d3d6f70107";
/// A hook was told what happened.
pub const HOOK_TOLD: &str = "7fd97b49ef7a4ea88a2af7df4ffd4f76";
/// A hook failed, or did not end in time.
pub const HOOK_FAILED: &str = "7602bad10fa147d788980ffe9f3cdefb";
/// Something that a person should know.
pub const WARNING: &str = "55c987cd881d4195aeea87f9902c9416";

/// All of them.
pub const ALL: [&str; 28] = [
    READY,
    ENDED,
    RELOADED,
    NOT_RELOADED,
    NOT_WRITABLE,
    NO_CONTROL_PLANE,
    LOOKED,
    FIRST_LOOK,
    EXPIRING,
    EXPIRED,
    FAULT,
    DEFERRED,
    BLOCKED,
    RECOVERED,
    NOT_RECOVERED,
    BACKED_UP,
    NOT_BACKED_UP,
    RENEWED,
    RESTARTING,
    RESTARTED,
    RESTART_PENDING,
    CYCLE_DONE,
    CYCLE_PARTLY,
    CYCLE_FAILED,
    NOT_PUT_BACK,
    HOOK_TOLD,
    HOOK_FAILED,
    WARNING,
];
