//! Which sets are compared: what the initiator asks for, and what a responder goes along with.

use std::ops::RangeInclusive;

use sotto_proto::id::{Height, SwarmId};
use sotto_proto::limits::{REPAIR_CLOCK_SECONDS, REPAIR_CUTOFF_SECONDS, REPAIR_UNTIL_SECONDS};
use sotto_proto::request::{Error, Scope};
use sotto_proto::time::UnixSeconds;

/// What an initiator compares at `now` by its own clock, of the swarm under the map of `height`.
#[must_use]
pub const fn scope_at(height: Height, swarm: SwarmId, now: UnixSeconds) -> Scope {
    Scope {
        height,
        swarm,
        until: UnixSeconds(now.0.saturating_sub(REPAIR_UNTIL_SECONDS)),
        cutoff: UnixSeconds(now.0.saturating_add(REPAIR_CUTOFF_SECONDS)),
    }
}

/// Why a responder does not compare what it is asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// The times are too far from the responder's clock: what it would compare is not what the initiator means.
    #[error("the times of the set are more than {REPAIR_CLOCK_SECONDS} s from the clock, which is {}", now.0)]
    Clock {
        /// The responder's clock.
        now: UnixSeconds,
    },
    /// The height is none of the recent final ones.
    #[error("the height of the set is none of the final heights from {lowest} on that are at hand")]
    Height {
        /// The lowest one.
        lowest: Height,
    },
}

impl From<ScopeError> for Error {
    fn from(error: ScopeError) -> Self {
        match error {
            ScopeError::Clock { now } => Self::ClockSkew { now },
            ScopeError::Height { lowest } => Self::Unavailable { lowest },
        }
    }
}

/// Whether a responder whose clock says `now` and who has the states of the final heights `finals` compares `scope`.
///
/// # Errors
/// [`ScopeError`] if not.
pub fn check_scope(scope: &Scope, now: UnixSeconds, finals: &RangeInclusive<Height>) -> Result<(), ScopeError> {
    if !finals.contains(&scope.height) {
        return Err(ScopeError::Height { lowest: *finals.start() });
    }
    let is_near = |time: UnixSeconds| time.0.abs_diff(now.0) <= REPAIR_CLOCK_SECONDS;
    if is_near(scope.until) && is_near(scope.cutoff) { Ok(()) } else { Err(ScopeError::Clock { now }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_790_000_000);

    #[test]
    fn a_neighbour_whose_clock_is_right_is_answered() {
        let scope = scope_at(Height(7), SwarmId(1), NOW);
        assert_eq!((scope.until.0, scope.cutoff.0), (NOW.0 - 10, NOW.0 + 120));
        for later in [0, 30, 179] {
            let now = UnixSeconds(NOW.0 + later);
            assert_eq!(check_scope(&scope, now, &(Height(5)..=Height(20))), Ok(()), "{later}");
        }
    }

    #[test]
    fn times_far_from_the_clock_are_refused_whichever_of_the_two_it_is() {
        let (scope, finals) = (scope_at(Height(7), SwarmId(1), NOW), Height(5)..=Height(20));
        let clock = Err(ScopeError::Clock { now: NOW });
        for off in [301, u64::MAX - NOW.0] {
            let until = Scope { until: UnixSeconds(NOW.0 + off), ..scope };
            let cutoff = Scope { cutoff: UnixSeconds(NOW.0 + off), ..scope };
            assert_eq!((check_scope(&until, NOW, &finals), check_scope(&cutoff, NOW, &finals)), (clock, clock));
        }
        assert_eq!(check_scope(&Scope { until: UnixSeconds(0), ..scope }, NOW, &finals), clock);
    }

    #[test]
    fn heights_that_are_not_at_hand_are_refused() {
        let finals = Height(5)..=Height(20);
        for height in [4, 21, u64::MAX] {
            let refused = check_scope(&scope_at(Height(height), SwarmId(1), NOW), NOW, &finals);
            assert_eq!(refused, Err(ScopeError::Height { lowest: Height(5) }));
        }
    }
}
