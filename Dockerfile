# SPDX-License-Identifier: MIT
#
# The image is the static binary and nothing else. The binary is built from the checkout first:
#
#     make image          builds dist/oasis6-linux-$TARGETARCH, then this, by buildah, podman or docker
#
# The container needs the capabilities NET_ADMIN (tunnel, addresses, routes, nftables) and NET_RAW
# (Router Advertisements), the device /dev/net/tun, an interface of the LAN in its network namespace, and
# a /proc/sys that it may write: forwarding is set there, and nothing is advertised while that fails.
#
#     docker run --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW --device /dev/net/tun \
#         --security-opt systempaths=unconfined --sysctl net.ipv6.conf.all.disable_ipv6=0 \
#         -v /etc/oasis6:/etc/oasis6 -v oasis6:/var/lib/oasis6 oasis6
#
# Nothing is exposed: no service waits on a port.

FROM scratch
ARG TARGETARCH
COPY dist/oasis6-linux-${TARGETARCH} /oasis6
VOLUME /var/lib/oasis6
ENTRYPOINT ["/oasis6"]
CMD ["run"]
