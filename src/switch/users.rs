//! The users of the configuration, found by extension in one look.

use crate::config::User;
use ahash::RandomState;
use hashbrown::HashTable;

/// A user's place in [`Users`]; good until the next reload.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserIndex(u32);

/// All users. The extension in a request is the peer's choice, so the table's hash is keyed.
#[derive(Debug)]
pub(crate) struct Users {
    list: Vec<User>,
    by_extension: HashTable<u32>,
    hasher: RandomState,
}

impl Users {
    /// A table over `list`. Of two users with one extension, which the node refuses, the first counts.
    #[must_use]
    pub(crate) fn new(list: Vec<User>, hasher: RandomState) -> Users {
        let mut users = Users {
            by_extension: HashTable::with_capacity(list.len()),
            list,
            hasher,
        };
        for index in 0..u32::try_from(users.list.len()).unwrap_or(u32::MAX) {
            users.insert(index);
        }
        users
    }

    fn insert(&mut self, index: u32) {
        let Users {
            list,
            by_extension,
            hasher,
        } = self;
        let extension = |i: &u32| list[*i as usize].aor.user();
        let hash = hasher.hash_one(extension(&index));
        if by_extension.find(hash, |i| extension(i) == extension(&index)).is_none() {
            by_extension.insert_unique(hash, index, |i| hasher.hash_one(extension(i)));
        }
    }

    /// The user with this extension.
    #[must_use]
    pub(crate) fn find(&self, extension: &str) -> Option<UserIndex> {
        self.by_extension
            .find(self.hasher.hash_one(extension), |i| {
                is_user_of(self.list[*i as usize].aor.as_str(), extension)
            })
            .map(|&index| UserIndex(index))
    }

    /// All of them, in the order of the configuration.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &User> {
        self.list.iter()
    }

    /// The user with this extension.
    #[must_use]
    pub(crate) fn named(&self, extension: &str) -> Option<&User> {
        self.find(extension).map(|index| &self[index])
    }
}

/// Whether `extension` is all that stands before the last `@`.
fn is_user_of(aor: &str, extension: &str) -> bool {
    let rest = aor.strip_prefix(extension).and_then(|rest| rest.strip_prefix('@'));
    rest.is_some_and(|domain| !domain.as_bytes().contains(&b'@'))
}

impl std::ops::Index<UserIndex> for Users {
    type Output = User;
    fn index(&self, index: UserIndex) -> &User {
        &self.list[index.0 as usize]
    }
}
