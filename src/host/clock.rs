//! The clock. No other module asks for the time.

use std::path::Path;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::Host;
use crate::model::Timestamp;

impl Host {
    /// Returns the time, UTC.
    pub fn now(&self) -> Timestamp {
        Timestamp::now_utc()
    }

    /// Returns the time with milliseconds, RFC 3339, which differs at every restart.
    pub fn now_exact(&self) -> String {
        let now = self.now();
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

    /// Returns the seconds since boot, sleep included. A step of the wall clock does not change it.
    pub fn uptime(&self) -> i64 {
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec())
    }

    /// Returns the time since boot.
    pub fn since_boot(&self) -> Duration {
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
    }

    /// Returns an id that differs after every boot.
    pub fn boot_id(&self) -> String {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        text.map(|text| text.trim().to_owned()).unwrap_or_default()
    }

    /// Returns the id of this machine (machine-id(5)), or an empty string. Clones of an image may
    /// share it.
    pub fn machine_id(&self) -> String {
        let file = self.read(Path::new("/etc/machine-id")).ok();
        file.and_then(|file| Some(file.bytes.text().ok()?.trim().to_owned()))
            .unwrap_or_default()
    }

    /// Returns true if systemd says that the clock is synchronized. `None` if it does not say.
    ///
    /// timedatectl asks over D-Bus; adjtimex(2) would need a hole in the service's sandbox.
    pub fn synchronized(&self) -> Option<bool> {
        let arguments = ["show", "-p", "NTPSynchronized", "--value"];
        let answer = self.output(Path::new("/usr/bin/timedatectl"), &arguments, Duration::from_secs(5))?;
        match answer.trim() {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }
}
