//! What a sign-in brings.

use crate::{Attributes, Authentication, Class, Client, Timestamp, UserId};

/// The facts of a sign-in, from which a session is made.
///
/// ```
/// use hallpass_core::{Class, SignIn, UserId};
///
/// let sign_in = SignIn::new(UserId::new("alice")?).class(Class::REMEMBERED).method("pwd").source("credentials");
/// assert_eq!(sign_in.user.as_str(), "alice");
/// # Ok::<(), hallpass_core::UserIdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignIn {
    /// Who.
    pub user: UserId,
    /// The class of the session; [`Class::WEB`] unless set.
    pub class: Class,
    /// From where.
    pub client: Client,
    /// How they proved it.
    pub authentication: Authentication,
    /// The application's data on the new session. `None` keeps those of a session of the same user that the sign-in renews.
    pub attributes: Option<Attributes>,
    /// When they proved it. `None`: now.
    pub authenticated_at: Option<Timestamp>,
}

impl SignIn {
    /// A sign-in of `user` with nothing else known.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            class: Class::WEB,
            client: Client::default(),
            authentication: Authentication::default(),
            attributes: None,
            authenticated_at: None,
        }
    }

    /// With another class.
    #[must_use]
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// From this client.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// With an authentication method reference more (RFC 8176).
    #[must_use]
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.authentication.methods.push(method.into());
        self
    }

    /// Made by this provider.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.authentication.source = source.into();
        self
    }

    /// With these attributes.
    #[must_use]
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = Some(attributes);
        self
    }

    /// Authenticated at this time, elsewhere: an identity provider that knows its user since this morning vouches for this morning. The session is
    /// no fresher than that, and its absolute timeout counts from there. A time to come is now. A sign-in with such a time renews no session:
    /// it replaces it.
    #[must_use]
    pub fn authenticated_at(mut self, at: Timestamp) -> Self {
        self.authenticated_at = Some(at);
        self
    }
}
