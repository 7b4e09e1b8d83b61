//! Stores that take one text for another.

use hallpass_core::store::{Filter, Listing, Page, Store as _};
use hallpass_core::{Class, StoreError, Timestamp, UserId};

use crate::broken::Broken;
use crate::defect::Defect as D;

/// One letter in its composed form; enough to be wrong.
pub(crate) fn normalised(text: &str) -> String {
    text.replace("e\u{301}", "\u{e9}")
}

impl Broken {
    /// What a store with a defect of text takes a user id for.
    fn taken_for(&self, user: &UserId) -> String {
        let text = user.as_str();
        match self.defect {
            D::UserIsFolded => text.to_lowercase(),
            D::UserIsTrimmed => text.trim_end_matches(' ').to_owned(),
            D::UserIsNormalised => normalised(text),
            D::UserEmojiAreOne => text.chars().map(|c| if c > '\u{ffff}' { '\u{1f511}' } else { c }).collect(),
            D::UserIsCut => text.chars().take(63).collect(),
            _ => text.to_owned(),
        }
    }

    /// Whether a store with a defect of text takes one user for another.
    pub(crate) fn is_taken_for(&self, one: &UserId, other: &UserId) -> bool {
        match (self.defect, one.as_str().split_once('%')) {
            (D::UserIsAPattern, Some((start, end))) => {
                other.as_str().starts_with(start) && other.as_str().ends_with(end)
            }
            _ => self.taken_for(one) == self.taken_for(other),
        }
    }

    pub(crate) fn is_of_text(&self) -> bool {
        let all = [
            D::UserIsFolded,
            D::UserIsTrimmed,
            D::UserIsNormalised,
            D::UserEmojiAreOne,
            D::UserIsCut,
            D::UserIsAPattern,
            D::LogNamesUsersInLowerCase,
        ];
        all.contains(&self.defect)
    }

    fn class_is_taken_for(&self, one: &Class, other: &Class) -> bool {
        let bare = |class: &Class| class.as_str().replace('-', "");
        one == other || (self.is(D::ClassIgnoresHyphens) && bare(one) == bare(other))
    }

    /// The sessions of everybody who is taken for the user of the filter, in its class or what is taken for it.
    pub(crate) async fn list_of_all_taken_for(
        &self,
        filter: &Filter,
        page: Page,
        now: Timestamp,
    ) -> Result<Listing, StoreError> {
        let all = Filter { user: None, class: None, include_ended: filter.include_ended };
        let mut all = self.data.inner.list(&all, Page { limit: Page::MAX_LIMIT, ..page }, now).await?;
        all.sessions.retain(|session| {
            let user = filter.user.as_ref().is_none_or(|user| self.is_taken_for(user, &session.user));
            user && filter.class.as_ref().is_none_or(|class| self.class_is_taken_for(class, &session.class))
        });
        let limit = page.limit.min(Page::MAX_LIMIT) as usize;
        if all.sessions.len() > limit {
            all.sessions.truncate(limit);
            all.next = all.sessions.last().map(|session| session.id);
        }
        Ok(all)
    }
}
