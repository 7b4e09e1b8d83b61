//! The policy as configured: a preset, and per class what differs from it. Whether the combination
//! makes sense (an `update_age` above `max_age`, say) is for the policy itself to judge.

use std::collections::BTreeMap;
use std::time::Duration;

use hallpass_core::{AbsoluteTimeout, Class, OnLimit, Policies, PolicyError, Preset};

/// How many live sessions one user may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionLimit {
    /// At most so many.
    AtMost(u32),
    /// No limit.
    Unlimited,
}

/// What one class has other than its preset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClassOverride {
    /// Idle timeout.
    pub max_age: Option<Duration>,
    /// Least time between two renewals.
    pub update_age: Option<Duration>,
    /// Longest life.
    pub absolute_timeout: Option<AbsoluteTimeout>,
    /// How long a sign-in counts as recent.
    pub fresh_age: Option<Duration>,
    /// Most live sessions of one user.
    pub max_per_user: Option<SessionLimit>,
    /// What a sign-in beyond that does.
    pub on_limit: Option<OnLimit>,
}

/// The configured policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PolicySettings {
    /// The policy to start from.
    pub preset: Preset,
    /// Classes with at least one override.
    pub classes: BTreeMap<&'static str, ClassOverride>,
}

impl PolicySettings {
    /// The policies to put in force.
    ///
    /// # Errors
    /// When a class contradicts itself, for example an `update_age` that is longer than `max_age`.
    pub fn policies(&self) -> Result<Policies, PolicyError> {
        let mut policies = Policies::preset(self.preset);
        for (name, wanted) in &self.classes {
            // The names come from `definition::CLASSES`, all of which are well formed.
            let class = Class::new(name).unwrap_or(Class::WEB);
            let mut policy = policies.of(&class).clone();
            policy.max_age = wanted.max_age.unwrap_or(policy.max_age);
            policy.update_age = wanted.update_age.unwrap_or(policy.update_age);
            policy.absolute_timeout = wanted.absolute_timeout.unwrap_or(policy.absolute_timeout);
            policy.fresh_age = wanted.fresh_age.unwrap_or(policy.fresh_age);
            policy.on_limit = wanted.on_limit.unwrap_or(policy.on_limit);
            policy.max_per_user = match wanted.max_per_user {
                None => policy.max_per_user,
                Some(SessionLimit::AtMost(most)) => Some(most),
                Some(SessionLimit::Unlimited) => None,
            };
            policies = policies.with(class, policy)?;
        }
        Ok(policies)
    }
}
