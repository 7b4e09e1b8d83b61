//! What came of sign-ins and logouts with identity providers, counted for `/metrics`.
//!
//! Labels are ids from the settings and words of this program, so nobody from outside can make more of them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// One kind of outcome, by provider.
type Counted = Family<Labels, Counter>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    provider: String,
    outcome: &'static str,
}

/// Outcomes of sign-ins and linkings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignedIn {
    Done,
    Linked,
    /// Somebody is signed in, and the identity was not linked to the account.
    NotLinked,
    /// The user or the provider said no, or the account is disabled.
    Denied,
    /// No account is linked to the identity, and none was made.
    NoAccount,
    /// What came back was not to be believed.
    Refused,
    Expired,
    SessionLimit,
    /// The provider did not answer.
    Unavailable,
    /// A database did not answer.
    Undecided,
    Misconfigured,
}

impl SignedIn {
    const ALL: [Self; 11] = [
        Self::Done,
        Self::Linked,
        Self::NotLinked,
        Self::Denied,
        Self::NoAccount,
        Self::Refused,
        Self::Expired,
        Self::SessionLimit,
        Self::Unavailable,
        Self::Undecided,
        Self::Misconfigured,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Done => "signed_in",
            Self::Linked => "linked",
            Self::NotLinked => "not_linked",
            Self::Denied => "denied",
            Self::NoAccount => "no_account",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::SessionLimit => "session_limit",
            Self::Unavailable => "unavailable",
            Self::Undecided => "undecided",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// By the code that the sign-in page is told.
    pub(crate) fn of_code(code: &str) -> Self {
        match code {
            "AccessDenied" => Self::Denied,
            "OAuthAccountNotLinked" | "OAuthCreateAccount" => Self::NoAccount,
            "OAuthExpired" => Self::Expired,
            "SessionLimit" => Self::SessionLimit,
            "ProviderUnavailable" => Self::Unavailable,
            "Unavailable" => Self::Undecided,
            "Configuration" => Self::Misconfigured,
            _ => Self::Refused,
        }
    }
}

/// Outcomes of logouts that providers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoggedOut {
    /// At least one session ended.
    Ended,
    /// There was none to end.
    NothingToEnd,
    Refused,
    /// Too many from that address did not count.
    Limited,
    /// A database or the provider's keys could not be had.
    Undecided,
}

impl LoggedOut {
    const ALL: [Self; 5] = [Self::Ended, Self::NothingToEnd, Self::Refused, Self::Limited, Self::Undecided];

    const fn label(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::NothingToEnd => "nothing_to_end",
            Self::Refused => "refused",
            Self::Limited => "limited",
            Self::Undecided => "undecided",
        }
    }
}

/// Outcomes of signing out at providers: one for each sign-out here, and one more for a browser that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departed {
    /// The browser was told to go there.
    Sent,
    /// It came back.
    Returned,
    /// The provider did not say where.
    Unavailable,
    /// It has no place to sign out.
    Unsupported,
    Misconfigured,
    /// Where the session came from could not be read.
    Undecided,
}

impl Departed {
    const ALL: [Self; 6] =
        [Self::Sent, Self::Returned, Self::Unavailable, Self::Unsupported, Self::Misconfigured, Self::Undecided];

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Returned => "returned",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Misconfigured => "misconfigured",
            Self::Undecided => "undecided",
        }
    }
}

/// The counters.
#[derive(Debug)]
pub(crate) struct ProviderCounts {
    sign_ins: Counted,
    back_channel_logouts: Counted,
    departures: Counted,
}

fn count(counted: &Counted, provider: &str, outcome: &'static str) {
    counted.get_or_create(&Labels { provider: provider.to_owned(), outcome }).inc();
}

impl ProviderCounts {
    /// All at 0 for these providers: what appears with its first increment has no rate before its second.
    pub(crate) fn new<'a>(providers: impl Iterator<Item = &'a str>) -> Self {
        let counts = Self {
            sign_ins: Counted::default(),
            back_channel_logouts: Counted::default(),
            departures: Counted::default(),
        };
        for provider in providers {
            let at_zero = |counted: &Counted, outcome| {
                drop(counted.get_or_create(&Labels { provider: provider.to_owned(), outcome }));
            };
            SignedIn::ALL.iter().for_each(|outcome| at_zero(&counts.sign_ins, outcome.label()));
            LoggedOut::ALL.iter().for_each(|outcome| at_zero(&counts.back_channel_logouts, outcome.label()));
            Departed::ALL.iter().for_each(|outcome| at_zero(&counts.departures, outcome.label()));
        }
        counts
    }

    pub(crate) fn sign_in(&self, provider: &str, outcome: SignedIn) {
        count(&self.sign_ins, provider, outcome.label());
    }

    pub(crate) fn back_channel_logout(&self, provider: &str, outcome: LoggedOut) {
        count(&self.back_channel_logouts, provider, outcome.label());
    }

    pub(crate) fn departure(&self, provider: &str, outcome: Departed) {
        count(&self.departures, provider, outcome.label());
    }

    /// Adds them to what is shown.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("provider_sign_ins", "Sign-ins and linkings with a provider", self.sign_ins.clone());
        registry.register(
            "backchannel_logouts",
            "Logout tokens that a provider sent",
            self.back_channel_logouts.clone(),
        );
        registry.register(
            "rp_initiated_logouts",
            "Sign-outs that lead to the provider, and returns from there",
            self.departures.clone(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_sign_in_page_is_counted_and_unknown_ones_are_refusals() {
        let labels: Vec<_> =
            ["AccessDenied", "Configuration", "Unavailable", "ProviderUnavailable", "OAuthTooOld", "x"]
                .map(|code| SignedIn::of_code(code).label())
                .into();
        assert_eq!(labels, ["denied", "misconfigured", "undecided", "unavailable", "refused", "refused"]);
    }

    #[test]
    fn all_outcomes_of_a_provider_are_there_from_the_start() {
        let counts = ProviderCounts::new(["corp"].into_iter());
        counts.departure("corp", Departed::Sent);
        let mut registry = Registry::with_prefix("hallpass");
        counts.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let of = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(of("hallpass_provider_sign_ins_total{provider=\"corp\",outcome="), SignedIn::ALL.len());
        assert_eq!(of("hallpass_backchannel_logouts_total{provider=\"corp\",outcome="), LoggedOut::ALL.len());
        assert_eq!(of("hallpass_rp_initiated_logouts_total{provider=\"corp\",outcome="), Departed::ALL.len());
        assert!(text.contains("hallpass_rp_initiated_logouts_total{provider=\"corp\",outcome=\"sent\"} 1\n"), "{text}");
    }
}
