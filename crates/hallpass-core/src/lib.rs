//! The rules of hallpass, without I/O: tokens, sessions, policy, validation, revocation and the [`Store`] contract.
//!
//! An application usually depends on the facade crate `hallpass` instead. Depend on this crate to write a store
//! (see [`store`]) or an integration with another web framework.
//!
//! ```
//! use hallpass_core::{Policies, Token};
//!
//! // Garbage is refused without touching any store.
//! assert!(Token::parse(b"hp_not-a-token").is_err());
//! // The policy in force is data that can be printed and checked.
//! assert!(Policies::default().deviations().iter().all(|note| note.contains("NIST")));
//! ```

mod actor;
mod attributes;
mod background;
mod cache;
mod class;
mod client;
mod client_notes;
mod clock;
mod copy;
mod device;
mod entropy;
mod events;
mod follower;
mod following;
pub mod gathering;
pub mod group_commit;
mod hints;
mod label;
mod last_seen;
mod nodes;
mod policy;
mod session;
mod session_id;
mod sessions;
mod sessions_builder;
mod sessions_checks;
mod sessions_revocations;
mod shim;
mod sign_in;
pub mod store;
mod sweeper;
mod token;
mod user_id;
mod validation;
mod waiting;

pub use actor::{Actor, ActorKind, EndReason, Ended};
pub use attributes::{Attributes, AttributesError, MAX_ATTRIBUTES_BYTES};
pub use background::{Background, BackgroundStatus, TaskStatus};
pub use cache::{CacheSettings, CacheStatus, CachedSession};
pub use class::{Class, ClassError};
pub use client::{Client, MAX_USER_AGENT_BYTES};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp, Uptime};
pub use copy::{Copied, CopyError, CopyProgress, copy};
pub use device::{Device, DeviceKind};
pub use entropy::{Entropy, EntropyError, OsEntropy};
pub use events::{Event, EventSink, TracingEvents};
pub use follower::{FlushReason, Followed};
pub use hints::{HintSource, Hints};
pub use label::{Label, LabelError, MAX_LABEL_CHARS};
pub use nodes::{Node, NodeId};
pub use policy::{AbsoluteTimeout, OnLimit, Policies, Policy, PolicyError, Preset};
pub use session::{Authentication, Session, State};
pub use session_id::{SessionId, SessionIdError};
pub use sessions::{AttributesOutcome, CreateError, Issued, MAX_PRESENTED, RotateError, Sessions};
pub use sessions_builder::{SessionsBuilder, SettingsError};
pub use sessions_revocations::Revoked;
#[cfg(feature = "shuttle")]
#[doc(hidden)]
pub use shim::{Rule, broken};
pub use sign_in::SignIn;
pub use store::{Store, StoreError};
pub use sweeper::{SweepProgress, SweepSettings};
pub use token::{Pepper, PepperError, TOKEN_CHARS, Token, TokenError, TokenHash, TokenText};
pub use user_id::{MAX_USER_ID_BYTES, UserId, UserIdError};
pub use validation::{Checked, Invalid, Validation, ValidationMode};
pub use waiting::Waited;
