//! Notifications of the desktop, over the freedesktop interface of D-Bus. They come from a thread of their own, so a desktop that
//! does not answer delays nothing; where there is none, that is said once.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use notify_rust::{Notification, Timeout, Urgency};

use super::show::note;

/// Notifications that wait for their turn; more are left out, since all are on the terminal.
const MOST_WAITING: usize = 100;

/// Something to show.
pub(super) struct Notice {
    pub(super) title: String,
    pub(super) body: String,
    /// Until somebody closes it.
    pub(super) stays: bool,
}

/// The desktop.
pub(super) struct Desktop(SyncSender<Notice>);

impl Desktop {
    pub(super) fn start() -> Self {
        let (sender, receiver) = sync_channel(MOST_WAITING);
        thread::spawn(move || show_all(&receiver));
        Self(sender)
    }

    pub(super) fn show(&self, notice: Notice) {
        let _ = self.0.try_send(notice);
    }
}

fn show_all(notices: &Receiver<Notice>) {
    let mut said = false;
    while let Ok(notice) = notices.recv() {
        match show(&notice) {
            Ok(()) => said = false,
            Err(error) if !said => {
                note(&format!("No notification could be shown on the desktop: {error}"));
                said = true;
            }
            Err(_) => {}
        }
    }
}

fn show(notice: &Notice) -> Result<(), notify_rust::error::Error> {
    // Some desktops read a small language of markup in the text: what came stays text.
    let markup = notify_rust::get_capabilities()?.iter().any(|one| one == "body-markup");
    let body = if markup { escaped(&notice.body) } else { notice.body.clone() };
    let mut notification = Notification::new();
    notification.appname("Tidegate").summary(&notice.title).body(&body).icon("dialog-information");
    if notice.stays {
        notification.urgency(Urgency::Critical).timeout(Timeout::Never);
    }
    notification.show().map(drop)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
