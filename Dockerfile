# SPDX-License-Identifier: MIT
#
# The image is the static binary and nothing else. The binary is built from the checkout first:
#
#     make image          builds dist/oasis6-linux-$TARGETARCH, then this, by buildah, podman or docker
#
# The container needs the capabilities NET_ADMIN (tunnel, addresses, routes, nftables) and NET_RAW
# (Router Advertisements), the device /dev/net/tun, and an interface of the LAN in its network
# namespace. It must not share the host's namespace by default: forwarding would cost the host the
# default route that it learned from an RA.
#
#     docker run --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW --device /dev/net/tun \
#         --sysctl net.ipv6.conf.all.disable_ipv6=0 --sysctl net.ipv6.conf.all.forwarding=1 \
#         -v /etc/oasis6:/etc/oasis6 -v oasis6:/var/lib/oasis6 oasis6
#
# Nothing is exposed: no service waits on a port.

FROM scratch
ARG TARGETARCH
COPY dist/oasis6-linux-${TARGETARCH} /oasis6
VOLUME /var/lib/oasis6
ENTRYPOINT ["/oasis6"]
CMD ["run"]
