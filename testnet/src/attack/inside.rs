//! Attacks by those who speak the protocols: strangers with keys of their own, and a member that turned.
//!
//! ```text
//! crowd ─▶ attackers, each a task ─▶ ground: draws, hops, accounts ─▶ peer: a connection by hand ─▶ wire: a stream
//!                                                                        └▶ path ─▶ talk: tunnels and questions
//! ```
//!
//! | file | attacks |
//! | --- | --- |
//! | `builds` | floods and hoards of paths; builds that lead nowhere |
//! | `tunnels` | floods of tunnels, and silent ones |
//! | `unread` | whoever asks for much and reads nothing |
//! | `stores` | stores that must not be taken |
//! | `requests` | questions at full speed |
//! | `spoilt` | builds, cells, records, questions that are not what they should be |
//! | `member` | gossip, repair and hand-over of a hostile member |
//!
//! The number of attackers, of what each holds and of what waits between them is fixed; whatever the victim is waited for
//! has a deadline; what is sent follows from the scene's seed, its order from the victim's answers.

mod builds;
mod crowd;
mod dialer;
mod ground;
mod mail;
mod member;
mod mutation;
mod path;
mod peer;
mod requests;
mod rpc;
mod spoilt;
mod stores;
mod talk;
mod tunnels;
mod unread;
mod wire;

use super::Attack;

/// All of them.
pub(super) const ATTACKS: &[Attack] = &[
    builds::FLOOD,
    builds::HOARD,
    tunnels::FLOOD,
    tunnels::SILENCE,
    unread::REQUESTS,
    unread::TUNNELS,
    stores::FLOOD,
    requests::DIRECT,
    requests::TUNNELLED,
    requests::LOGS,
    spoilt::BUILDS_ATTACK,
    spoilt::CELLS,
    spoilt::TUNNELS,
    spoilt::REQUESTS,
    member::CONTROL,
    member::RECORDS,
    member::REPAIR,
    // The last one: what it puts into the victim's memory of builds stays there for minutes.
    builds::NOWHERE,
];
