//! The clock. Only here the program asks what time it is.

use crate::model::Timestamp;

use super::Host;

impl Host {
    /// Now, UTC, to the second below (X.509 dates have no fractions).
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now_utc();
        now.replace_nanosecond(0).unwrap_or(now)
    }

    /// Now with milliseconds, as RFC 3339: different at every restart.
    pub fn now_exact(&self) -> String {
        let now = Timestamp::now_utc();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second(),
            now.millisecond()
        )
    }
}
