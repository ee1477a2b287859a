/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/*
 * How a nexthop names the WireGuard peer that it leads to: RTA_ENCAP_TYPE (in a
 * nexthop object NHA_ENCAP_TYPE) is LWTUNNEL_ENCAP_WGPEER, and RTA_ENCAP
 * (NHA_ENCAP) holds exactly one attribute, RTA_WGPEER. No other type of
 * encapsulation is concerned.
 */

#ifndef _UAPI_LINUX_WGVIA_RTA_H
#define _UAPI_LINUX_WGVIA_RTA_H

#define RTA_WGPEER	1	/* the public key of the peer, binary */
#define RTA_WGPEER_LEN	32	/* its length in bytes */

#endif /* _UAPI_LINUX_WGVIA_RTA_H */
