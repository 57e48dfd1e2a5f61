//! What systemd is told (sd_notify(3)). Without systemd nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service is up.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// The service ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// What it does now, for `systemctl status`. A line end would start another variable.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&text.replace('\n', " "))]);
}

/// It is alive.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// Within which time systemd wants to hear [`watchdog`].
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn send(state: &[NotifyState<'_>]) {
    // A lost message is no reason to stop renewing certificates; systemd acts by itself when READY or WATCHDOG stay away.
    let _ = sd_notify::notify(state);
}
