//! What peers under test control have in common.

use libp2p::StreamProtocol;
use libp2p::core::upgrade::{InboundUpgrade, UpgradeInfo};

/// Accepts any of several protocols.
#[derive(Clone)]
pub(super) struct AnyOf(pub(super) Vec<StreamProtocol>);

impl UpgradeInfo for AnyOf {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl<C> InboundUpgrade<C> for AnyOf {
    type Output = (StreamProtocol, C);
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: C, name: StreamProtocol) -> Self::Future {
        std::future::ready(Ok((name, stream)))
    }
}
