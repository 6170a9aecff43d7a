//! What a worker and the file thread have to say to each other.

use crate::files::Door;
use media::{Engine, FileNews, FileOrder};
use std::collections::VecDeque;
use tokio::sync::mpsc::Receiver;

/// A worker's orders to the file thread, and what comes back.
pub(super) struct FileDesk {
    /// `None` when the node ends already.
    door: Option<Door>,
    news: Receiver<FileNews>,
    /// Orders the file thread had no room for. The engine gives out no more than its blocks, which bounds them.
    unsaid: VecDeque<FileOrder>,
}

impl FileDesk {
    pub(super) fn new(door: Option<Door>, news: Receiver<FileNews>) -> FileDesk {
        let unsaid = VecDeque::new();
        FileDesk { door, news, unsaid }
    }

    /// Gives the engine what was read, and passes on what it orders.
    pub(super) fn exchange(&mut self, engine: &mut Engine) {
        while let Ok(news) = self.news.try_recv() {
            engine.handle_file(news);
        }
        self.unsaid.extend(std::iter::from_fn(|| engine.poll_file_order()));
        while let Some(order) = self.unsaid.pop_front() {
            if let Some(Err(order)) = self.door.as_ref().map(|door| door.submit(order)) {
                return self.unsaid.push_front(order);
            }
        }
    }

    /// Something was read and waits.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Orders wait for the file thread.
    pub(super) fn waits(&self) -> bool {
        !self.unsaid.is_empty()
    }
}
