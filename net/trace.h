/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints of packets that are dropped.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM wgvia

#if !defined(_WGVIA_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _WGVIA_TRACE_H

#include <linux/base64.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/tracepoint.h>
#include <net/ipv6.h>
#include <uapi/linux/wireguard.h>

/* A key in base64, as wg(8) has it, with its NUL. Tools want plain numbers for
 * the lengths of arrays.
 */
#define WGVIA_TRACE_KEY_LEN 45

/* The key is NULL if there is none. IPv4 addresses are mapped to IPv6. */
DECLARE_EVENT_CLASS(wgvia_drop,
	TP_PROTO(const struct net_device *dev, const u8 *key,
		 const struct sk_buff *skb, const char *clause),
	TP_ARGS(dev, key, skb, clause),

	TP_STRUCT__entry(
		__string(dev, dev->name)
		__string(clause, clause)
		__field(int, ifindex)
		/* Behind a field of 4 bytes, for their alignment */
		__array(u8, saddr, 16)
		__array(u8, daddr, 16)
		__array(char, peer, WGVIA_TRACE_KEY_LEN)
	),

	TP_fast_assign(
		struct in6_addr *saddr = (struct in6_addr *)__entry->saddr;
		struct in6_addr *daddr = (struct in6_addr *)__entry->daddr;

		__assign_str(dev);
		__assign_str(clause);
		__entry->ifindex = dev->ifindex;
		BUILD_BUG_ON(WGVIA_TRACE_KEY_LEN !=
			     DIV_ROUND_UP(WG_KEY_LEN, 3) * 4 + 1);
		memset(__entry->peer, 0, WGVIA_TRACE_KEY_LEN);
		if (key)
			base64_encode(key, WG_KEY_LEN, __entry->peer, true,
				      BASE64_STD);
		if (skb->protocol == htons(ETH_P_IP)) {
			ipv6_addr_set_v4mapped(ip_hdr(skb)->saddr, saddr);
			ipv6_addr_set_v4mapped(ip_hdr(skb)->daddr, daddr);
		} else {
			*saddr = ipv6_hdr(skb)->saddr;
			*daddr = ipv6_hdr(skb)->daddr;
		}
	),

	TP_printk("dev=%s ifindex=%d peer=%s saddr=%pI6c daddr=%pI6c clause=%s",
		  __get_str(dev), __entry->ifindex, __entry->peer, __entry->saddr,
		  __entry->daddr, __get_str(clause))
);

/* Not sent. The peer is the one that the nexthop names, or empty. */
DEFINE_EVENT(wgvia_drop, wgvia_tx_drop,
	TP_PROTO(const struct net_device *dev, const u8 *key,
		 const struct sk_buff *skb, const char *clause),
	TP_ARGS(dev, key, skb, clause)
);

/* Not accepted from the peer */
DEFINE_EVENT(wgvia_drop, wgvia_rx_drop,
	TP_PROTO(const struct net_device *dev, const u8 *key,
		 const struct sk_buff *skb, const char *clause),
	TP_ARGS(dev, key, skb, clause)
);

#endif /* _WGVIA_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
