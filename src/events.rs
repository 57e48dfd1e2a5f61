//! Kinds of events in the journal, by their `MESSAGE_ID` (systemd.journal-fields(7)).
//!
//! Each id is 128 random bits. kubecertd never changes or reuses one. `systemd/kubecertd.catalog`
//! explains each of them to `journalctl -x`; a test compares the two.
//!
//! An event has its subject as fields, in capitals in the journal: `CERTIFICATE`, `NOT_AFTER`
//! (RFC 3339), `ACTION`, `READER`, `METHOD`, `SECONDS`, `REASON`, `BACKUP`, `DIRECTORY`, `HOOK`,
//! `OUTCOME`, `CYCLE_ID` (the same for all events of a cycle) and counts. systemd has none of these
//! names.

/// The first assessment is done; the daemon waits for its jobs.
pub const READY: &str = "1f9fffa48f154262a3b869643244473b";
/// The daemon has stopped, as it was asked to.
pub const ENDED: &str = "468dc0592f3947ab9eaac9bb9b72df34";
/// The configuration was reloaded and is in effect.
pub const RELOADED: &str = "bffcde7ac9eb44ce9b056fff244fbeb7";
/// The new configuration is invalid, one event a problem; the old one stays in effect.
pub const NOT_RELOADED: &str = "7577bb63bbe04de9910e1dee71385cdc";
/// A directory that a cycle would write to is read-only.
pub const NOT_WRITABLE: &str = "8d5db245b4a548db9f581c25fb75f008";
/// This node has no certificates for kubecertd to manage yet.
pub const NO_CONTROL_PLANE: &str = "e8cd76b142ae4849be45f6b93f1e528b";
/// Result of an assessment: the certificates that are due, or the first that will be.
pub const ASSESSED: &str = "7cd0469170f44f18b28f699ad9df475b";
/// First assessment on this node: the renewals that the next cycle would do.
pub const FIRST_ASSESSMENT: &str = "3fa281c73b984bf9bd009f45575b1e49";
/// A certificate ends soon and is not about to be renewed. At most once a day.
pub const EXPIRING: &str = "410ed669deb44097b17deaaf3050398a";
/// A certificate has expired. At most once a day.
pub const EXPIRED: &str = "9c2b5b4ce288491faa50dbd2ff8111a4";
/// A credential cannot be read or renewed. At most once a day for the same reason.
pub const FAULT: &str = "e5a47af919e14829a36665ac3cfbf83e";
/// A cycle was deferred: another process is working, or the clock is doubtful.
pub const DEFERRED: &str = "cfe27315095d4db9b918c93ab639b09b";
/// The cluster lock was refused: another node is working or has not finished, or quorum is at risk.
pub const BLOCKED: &str = "587da8327d3943808affa3c253e7ec9e";
/// An interrupted cycle was finished or rolled back.
pub const RECOVERED: &str = "32b824590d394a86ab1afa95d64cd19e";
/// An interrupted cycle could be neither finished nor rolled back.
pub const NOT_RECOVERED: &str = "cc67b85178974ae79d27734598128bd3";
/// A backup was taken.
pub const BACKED_UP: &str = "2d3c297d20a9498b82830eca7c97e2db";
/// A backup could not be taken.
pub const NOT_BACKED_UP: &str = "70e55c7df5c9456b843e99aef3da8022";
/// A credential was renewed and installed.
pub const RENEWED: &str = "f96b10582c4b4116a72cb91deeb4801e";
/// The restart of a component begins.
pub const RESTARTING: &str = "ff4e25e059b24297919686311c4db73e";
/// A component was restarted and uses the installed credentials.
pub const RESTARTED: &str = "6d24db6c533a4a8896fc415880633d1b";
/// A component still has to be restarted.
pub const RESTART_PENDING: &str = "9bc7fb438d014ca2be5190fedd23ab32";
/// Summary of a cycle that succeeded.
pub const CYCLE_DONE: &str = "26c7e6b328cd454693a9de5aeea29107";
/// Summary of a cycle that left something out.
pub const CYCLE_PARTLY: &str = "9125988ad2bc4c8b9229fcdcbeaf9745";
/// Summary of a cycle that failed and left the node as it was before.
pub const CYCLE_FAILED: &str = "1f2cf9c138c54237a2be17787dd3b4dd";
/// Summary of a cycle that failed and could not be rolled back. Requires operator action.
pub const NOT_ROLLED_BACK: &str = "c1370d10aacb407b860810d3d6f70107";
/// A hook was told of an event.
pub const HOOK_TOLD: &str = "7fd97b49ef7a4ea88a2af7df4ffd4f76";
/// A hook failed, or exceeded its deadline.
pub const HOOK_FAILED: &str = "7602bad10fa147d788980ffe9f3cdefb";
/// A warning to the operator.
pub const WARNING: &str = "55c987cd881d4195aeea87f9902c9416";

/// All kinds of events.
pub const ALL: [&str; 28] = [
    READY,
    ENDED,
    RELOADED,
    NOT_RELOADED,
    NOT_WRITABLE,
    NO_CONTROL_PLANE,
    ASSESSED,
    FIRST_ASSESSMENT,
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
    NOT_ROLLED_BACK,
    HOOK_TOLD,
    HOOK_FAILED,
    WARNING,
];
