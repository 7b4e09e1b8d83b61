//! How long sessions live, by class.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Class, Session, Timestamp};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// The overall limit of a session, counted from its last full authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbsoluteTimeout {
    /// The session ends this long after the last full authentication, whatever its activity.
    After(Duration),
    /// No overall limit. It must be asked for by this word; OWASP ASVS 5.0, 7.3.2 wants one.
    Never,
}

impl AbsoluteTimeout {
    fn deadline(self, authenticated_at: Timestamp) -> Timestamp {
        match self {
            Self::After(duration) => authenticated_at.plus(duration),
            Self::Never => Timestamp::NEVER,
        }
    }
}

/// What happens when a user already has as many sessions as [`Policy::max_per_user`] allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLimit {
    /// The oldest sessions end to make room; never the one being created.
    EvictOldest,
    /// The new sign-in is refused.
    Refuse,
}

impl OnLimit {
    /// The name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EvictOldest => "evict-oldest",
            Self::Refuse => "refuse",
        }
    }

    /// From the name in settings.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::EvictOldest, Self::Refuse].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// The rules for one class of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Idle timeout: a session that is not used for this long ends.
    pub max_age: Duration,
    /// A session in use is extended at most once in this time; each extension is one write.
    pub update_age: Duration,
    /// Overall limit, whatever the activity.
    pub absolute_timeout: AbsoluteTimeout,
    /// How long after its authentication a session counts as fresh enough for sensitive acts.
    pub fresh_age: Duration,
    /// At most this many live sessions of the class for one user; `None` sets no limit.
    pub max_per_user: Option<u32>,
    /// What happens at that limit.
    pub on_limit: OnLimit,
    /// Whether the cookie outlives the browser (`Max-Age`).
    pub persistent_cookie: bool,
}

impl Policy {
    /// A policy with the given idle timeout, extension interval and overall limit; fresh for 15 minutes, at most 100 sessions for one
    /// user (the oldest makes room), and a cookie that ends with the browser.
    #[must_use]
    pub const fn new(max_age: Duration, update_age: Duration, absolute_timeout: AbsoluteTimeout) -> Self {
        Self {
            max_age,
            update_age,
            absolute_timeout,
            fresh_age: Duration::from_secs(15 * MINUTE),
            max_per_user: Some(100),
            on_limit: OnLimit::EvictOldest,
            persistent_cookie: false,
        }
    }

    const fn of_seconds(max_age: u64, update_age: u64, absolute: u64) -> Self {
        Self::new(
            Duration::from_secs(max_age),
            Duration::from_secs(update_age),
            AbsoluteTimeout::After(Duration::from_secs(absolute)),
        )
    }

    fn check(&self, class: &Class) -> Result<(), PolicyError> {
        let wrong = |what: &'static str| Err(PolicyError { class: class.clone(), what });
        // Stored times are milliseconds; anything shorter would round to "ends at once" or "for ever" (A51).
        if self.max_age < Duration::from_millis(1) {
            return wrong("max_age must be positive");
        }
        if self.update_age >= self.max_age {
            return wrong(
                "update_age must be shorter than max_age, or sessions in use would end without ever being extended",
            );
        }
        if matches!(self.absolute_timeout, AbsoluteTimeout::After(limit) if limit < Duration::from_millis(1)) {
            return wrong("absolute_timeout must be positive (the word for no limit is \"none\")");
        }
        if self.max_per_user == Some(0) {
            return wrong("max_per_user must be at least 1");
        }
        Ok(())
    }

    /// The deadlines of a session authenticated and renewed at these times.
    pub(crate) fn deadlines(&self, authenticated_at: Timestamp, renewed_at: Timestamp) -> Deadlines {
        let absolute = self.absolute_timeout.deadline(authenticated_at);
        Deadlines { idle: renewed_at.plus(self.max_age).min(absolute), absolute }
    }

    /// The deadlines that hold for `session` now: the tighter of those it was given and those of this policy, so that a
    /// shorter policy ends old sessions at once and a longer one never lengthens what was promised to end.
    pub(crate) fn effective(&self, session: &Session) -> Deadlines {
        let given = Deadlines { idle: session.idle_expires_at, absolute: session.absolute_expires_at };
        self.tightened(given, session.authenticated_at, session.renewed_at)
    }

    /// As [`Policy::effective`], for a session with these deadlines that was authenticated and renewed at these times.
    pub(crate) fn tightened(&self, given: Deadlines, authenticated_at: Timestamp, renewed_at: Timestamp) -> Deadlines {
        let now = self.deadlines(authenticated_at, renewed_at);
        Deadlines { idle: given.idle.min(now.idle), absolute: given.absolute.min(now.absolute) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadlines {
    pub(crate) idle: Timestamp,
    pub(crate) absolute: Timestamp,
}

/// A policy that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy of class {class}: {what}")]
pub struct PolicyError {
    /// The class.
    pub class: Class,
    /// What is wrong and how to mend it.
    pub what: &'static str,
}

/// Named sets of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Preset {
    /// 30 days idle, extended daily, 90 days overall; remembered: 90 days idle, one year overall.
    #[default]
    Default,
    /// NIST SP 800-63B-4, AAL1: at most 30 days overall.
    Aal1,
    /// NIST SP 800-63B-4, AAL2: at most 1 hour idle and 24 hours overall.
    Aal2,
    /// NIST SP 800-63B-4, AAL3: at most 15 minutes idle and 12 hours overall.
    Aal3,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [Self::Default, Self::Aal1, Self::Aal2, Self::Aal3];

    /// The name in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Aal1 => "aal1",
            Self::Aal2 => "aal2",
            Self::Aal3 => "aal3",
        }
    }

    /// From the name in settings.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.as_str() == text)
    }
}

/// The policy of every class. Sessions of a class that has none (any more) follow that of [`Class::WEB`].
///
/// ```
/// use hallpass_core::{AbsoluteTimeout, Class, Policies, Policy};
/// use std::time::Duration;
///
/// let kiosk = Policy::new(
///     Duration::from_secs(600),
///     Duration::from_secs(60),
///     AbsoluteTimeout::After(Duration::from_secs(8 * 3600)),
/// );
/// let policies = Policies::default().with(Class::new("kiosk")?, kiosk)?;
/// assert_eq!(policies.of(&Class::new("kiosk")?).max_age.as_secs(), 600);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    web: Policy,
    others: BTreeMap<Class, Policy>,
}

impl Policies {
    /// The policies of a preset, for the classes `web`, `remembered` and `api`.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        let (web, mut remembered) = match preset {
            Preset::Default => {
                (Policy::of_seconds(30 * DAY, DAY, 90 * DAY), Policy::of_seconds(90 * DAY, DAY, 365 * DAY))
            }
            Preset::Aal1 => (Policy::of_seconds(30 * DAY, DAY, 30 * DAY), Policy::of_seconds(30 * DAY, DAY, 30 * DAY)),
            Preset::Aal2 => (Policy::of_seconds(HOUR, 5 * MINUTE, DAY), Policy::of_seconds(HOUR, 5 * MINUTE, DAY)),
            Preset::Aal3 => {
                (Policy::of_seconds(15 * MINUTE, MINUTE, 12 * HOUR), Policy::of_seconds(15 * MINUTE, MINUTE, 12 * HOUR))
            }
        };
        remembered.persistent_cookie = true;
        let api = web.clone();
        Self { web, others: BTreeMap::from([(Class::REMEMBERED, remembered), (Class::API, api)]) }
    }

    /// With another policy for one class.
    ///
    /// # Errors
    /// When the policy contradicts itself.
    pub fn with(mut self, class: Class, policy: Policy) -> Result<Self, PolicyError> {
        policy.check(&class)?;
        if class == Class::WEB {
            self.web = policy;
        } else {
            self.others.insert(class, policy);
        }
        Ok(self)
    }

    /// The policy of a class.
    #[must_use]
    pub fn of(&self, class: &Class) -> &Policy {
        if *class == Class::WEB { &self.web } else { self.others.get(class).unwrap_or(&self.web) }
    }

    /// Whether sessions of this class may be created.
    #[must_use]
    pub fn knows(&self, class: &Class) -> bool {
        *class == Class::WEB || self.others.contains_key(class)
    }

    /// Every class with its policy, `web` first.
    pub fn iter(&self) -> impl Iterator<Item = (Class, &Policy)> {
        std::iter::once((Class::WEB, &self.web))
            .chain(self.others.iter().map(|(class, policy)| (class.clone(), policy)))
    }

    /// Where the policies are laxer than NIST SP 800-63B-4 advises even for AAL1, for the documentation that OWASP ASVS 5.0, 7.1.1
    /// asks for.
    #[must_use]
    pub fn deviations(&self) -> Vec<String> {
        let advised = Duration::from_secs(30 * DAY);
        self.iter()
            .filter_map(|(class, policy)| match policy.absolute_timeout {
                AbsoluteTimeout::Never => {
                    Some(format!("class {class}: no absolute timeout; NIST SP 800-63B-4 requires one at every level"))
                }
                AbsoluteTimeout::After(limit) if limit > advised => Some(format!(
                    "class {class}: absolute timeout of {} days; NIST SP 800-63B-4 advises at most 30 days at AAL1",
                    limit.as_secs() / DAY
                )),
                AbsoluteTimeout::After(_) => None,
            })
            .collect()
    }
}

impl Default for Policies {
    fn default() -> Self {
        Self::preset(Preset::Default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NIST SP 800-63B-4, sections on AAL1 to AAL3: (level, idle at most, overall at most), in seconds.
    #[test]
    fn presets_keep_the_figures_of_nist() {
        for (preset, idle, overall) in
            [(Preset::Aal1, 30 * DAY, 30 * DAY), (Preset::Aal2, HOUR, DAY), (Preset::Aal3, 15 * MINUTE, 12 * HOUR)]
        {
            let policies = Policies::preset(preset);
            for (class, policy) in policies.iter() {
                assert!(policy.max_age <= Duration::from_secs(idle), "{preset:?} {class}");
                assert_eq!(
                    policy.absolute_timeout,
                    AbsoluteTimeout::After(Duration::from_secs(overall)),
                    "{preset:?} {class}"
                );
                policy.check(&class).unwrap();
            }
            assert!(policies.deviations().is_empty(), "{preset:?}");
        }
        let default = Policies::default();
        let web = default.of(&Class::WEB);
        assert_eq!((web.max_age.as_secs(), web.update_age.as_secs()), (30 * DAY, DAY));
        assert_eq!(web.absolute_timeout, AbsoluteTimeout::After(Duration::from_secs(90 * DAY)));
        assert_eq!(default.deviations().len(), 3);
    }

    #[test]
    fn contradictions_are_refused() {
        let good = Policy::of_seconds(100, 10, 1000);
        let breakages: [fn(&mut Policy); 5] = [
            |p| p.max_age = Duration::ZERO,
            |p| p.max_age = Duration::from_nanos(1),
            |p| p.update_age = p.max_age,
            |p| p.absolute_timeout = AbsoluteTimeout::After(Duration::ZERO),
            |p| p.max_per_user = Some(0),
        ];
        for (number, breakage) in breakages.iter().enumerate() {
            let mut bad = good.clone();
            breakage(&mut bad);
            assert!(Policies::default().with(Class::WEB, bad).is_err(), "{number}");
        }
        assert!(Policies::default().with(Class::WEB, good).is_ok());
    }
}
