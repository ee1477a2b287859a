/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	netlink/specs/wgvia.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: scripts/gen-uapi */

#ifndef _UAPI_LINUX_WGVIA_H
#define _UAPI_LINUX_WGVIA_H

#define WGVIA_FAMILY_NAME	"wgvia"
#define WGVIA_FAMILY_VERSION	1

#define WGVIA_KEY_LEN	32

/**
 * enum wgvia_mode - Which nexthops choose the peer of a packet.
 * @WGVIA_MODE_OFF: None. AllowedIPs alone decide, and no route may name a
 *   peer.
 * @WGVIA_MODE_AUTO: Those that name a peer. AllowedIPs decide for all other
 *   packets.
 * @WGVIA_MODE_ON: Those that name a peer, and those with a gateway.
 */
enum wgvia_mode {
	WGVIA_MODE_OFF,
	WGVIA_MODE_AUTO,
	WGVIA_MODE_ON,
};

/**
 * enum wgvia_filter - Which inner source addresses are accepted from a peer.
 * @WGVIA_FILTER_DEVICE: Those for which the longest prefix on the device leads
 *   to the peer, as if the routes had been copied into AllowedIPs.
 * @WGVIA_FILTER_STRICT: Those to which the host would reply through the device
 *   and to the peer (RFC 3704 strict, for each peer).
 * @WGVIA_FILTER_LOOSE: Those that device accepts, and those whose longest
 *   prefix is on the device and that are no other peer's neighbour address.
 * @WGVIA_FILTER_NONE: All of them.
 */
enum wgvia_filter {
	WGVIA_FILTER_DEVICE,
	WGVIA_FILTER_STRICT,
	WGVIA_FILTER_LOOSE,
	WGVIA_FILTER_NONE,
};

/**
 * enum wgvia_verdict - The answer to what becomes of a packet.
 * @WGVIA_VERDICT_ACCEPT: It is sent to the peer, or accepted from it.
 * @WGVIA_VERDICT_COPY: It is sent to a link-scope group, with a copy for each
 *   peer.
 * @WGVIA_VERDICT_DROP: It is dropped; a sender gets ENOKEY.
 * @WGVIA_VERDICT_ELSEWHERE: The host does not send it by the device but by
 *   another.
 * @WGVIA_VERDICT_UNREACHABLE: The host does not send it, there is no route to
 *   the destination or it rejects.
 */
enum wgvia_verdict {
	WGVIA_VERDICT_ACCEPT,
	WGVIA_VERDICT_COPY,
	WGVIA_VERDICT_DROP,
	WGVIA_VERDICT_ELSEWHERE,
	WGVIA_VERDICT_UNREACHABLE,
};

enum {
	WGVIA_A_DEVICE_IFINDEX = 1,
	WGVIA_A_DEVICE_IFNAME,
	WGVIA_A_DEVICE_MODE,
	WGVIA_A_DEVICE_FILTER,
	WGVIA_A_DEVICE_MULTICAST,
	WGVIA_A_DEVICE_STATES,
	WGVIA_A_DEVICE_COUNTERS,

	__WGVIA_A_DEVICE_MAX,
	WGVIA_A_DEVICE_MAX = (__WGVIA_A_DEVICE_MAX - 1)
};

enum {
	WGVIA_A_COUNTERS_TX_WGPEER = 1,
	WGVIA_A_COUNTERS_TX_GATEWAY,
	WGVIA_A_COUNTERS_TX_ONLINK,
	WGVIA_A_COUNTERS_TX_MULTICAST,
	WGVIA_A_COUNTERS_TX_DROP_WGPEER,
	WGVIA_A_COUNTERS_TX_DROP_GATEWAY,
	WGVIA_A_COUNTERS_TX_DROP_ONLINK,
	WGVIA_A_COUNTERS_TX_DROP_NOROUTE,
	WGVIA_A_COUNTERS_TX_DROP_MULTICAST,
	WGVIA_A_COUNTERS_RX_WGPEER,
	WGVIA_A_COUNTERS_RX_GATEWAY,
	WGVIA_A_COUNTERS_RX_ONLINK,
	WGVIA_A_COUNTERS_RX_NEIGHBOUR,
	WGVIA_A_COUNTERS_RX_ALLOWEDIPS,
	WGVIA_A_COUNTERS_RX_LOOSE,
	WGVIA_A_COUNTERS_RX_UNFILTERED,
	WGVIA_A_COUNTERS_RX_DROP_SOURCE,
	WGVIA_A_COUNTERS_RX_DROP_OWN,
	WGVIA_A_COUNTERS_RX_DROP_NOROUTE,
	WGVIA_A_COUNTERS_RX_DROP_DEVICE,
	WGVIA_A_COUNTERS_RX_DROP_PEER,
	WGVIA_A_COUNTERS_RX_DROP_TABLES,
	WGVIA_A_COUNTERS_MULTICAST_COPIES,
	WGVIA_A_COUNTERS_MULTICAST_DROPS,

	__WGVIA_A_COUNTERS_MAX,
	WGVIA_A_COUNTERS_MAX = (__WGVIA_A_COUNTERS_MAX - 1)
};

enum {
	WGVIA_A_BINDING_IFINDEX = 1,
	WGVIA_A_BINDING_KEY,
	WGVIA_A_BINDING_STATES,
	WGVIA_A_BINDING_PRESENT,

	__WGVIA_A_BINDING_MAX,
	WGVIA_A_BINDING_MAX = (__WGVIA_A_BINDING_MAX - 1)
};

enum {
	WGVIA_A_RESOLVE_IFINDEX = 1,
	WGVIA_A_RESOLVE_IFNAME,
	WGVIA_A_RESOLVE_DESTINATION,
	WGVIA_A_RESOLVE_SOURCE,
	WGVIA_A_RESOLVE_MARK,
	WGVIA_A_RESOLVE_DSCP,
	WGVIA_A_RESOLVE_SPORT,
	WGVIA_A_RESOLVE_DPORT,
	WGVIA_A_RESOLVE_OIF,
	WGVIA_A_RESOLVE_UNROUTED,
	WGVIA_A_RESOLVE_FROM,
	WGVIA_A_RESOLVE_VERDICT,
	WGVIA_A_RESOLVE_CLAUSE,
	WGVIA_A_RESOLVE_PEER,
	WGVIA_A_RESOLVE_ROUTE,

	__WGVIA_A_RESOLVE_MAX,
	WGVIA_A_RESOLVE_MAX = (__WGVIA_A_RESOLVE_MAX - 1)
};

enum {
	WGVIA_A_ROUTE_TABLE = 1,
	WGVIA_A_ROUTE_PREFIX,
	WGVIA_A_ROUTE_PREFIX_LEN,
	WGVIA_A_ROUTE_OIF,
	WGVIA_A_ROUTE_KEY,
	WGVIA_A_ROUTE_GATEWAY,

	__WGVIA_A_ROUTE_MAX,
	WGVIA_A_ROUTE_MAX = (__WGVIA_A_ROUTE_MAX - 1)
};

enum {
	WGVIA_CMD_DEVICE_GET = 1,
	WGVIA_CMD_DEVICE_SET,
	WGVIA_CMD_BINDING_GET,
	WGVIA_CMD_DEFAULT_GET,
	WGVIA_CMD_DEFAULT_SET,
	WGVIA_CMD_RESOLVE,

	__WGVIA_CMD_MAX,
	WGVIA_CMD_MAX = (__WGVIA_CMD_MAX - 1)
};

#endif /* _UAPI_LINUX_WGVIA_H */
