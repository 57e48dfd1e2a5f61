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

/// A new configuration is read; [`ready`] says that this is over. `MONOTONIC_USEC` belongs to it for `Type=notify-reload` (systemd 253), and
/// means nothing to older ones.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

/// Starting or ending takes longer, and goes on: systemd waits so long from now on.
pub fn extend(by: Duration) {
    send(&[NotifyState::ExtendTimeoutUsec(
        u32::try_from(by.as_micros()).unwrap_or(u32::MAX),
    )]);
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
