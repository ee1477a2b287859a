/* SPDX-License-Identifier: GPL-2.0 */
/* Routes, tables and rules, for ../bindings_helper.h */

#ifndef _WGVIA_HELPERS_FIB_H
#define _WGVIA_HELPERS_FIB_H

#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/rculist.h>
#include <linux/skbuff.h>
#include <net/fib_rules.h>
#include <net/flow_dissector.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/l3mdev.h>
#include <net/nexthop.h>
#include <net/route.h>

/* The fib6_nh of a fib6_info that has no nexthop object */
static inline struct fib_nh_common *wgvia_fib6_nhc(struct fib6_info *f6i)
{
	return &f6i->fib6_nh->nh_common;
}

/* The nexthop of an index, or NULL if that is too high. Under RCU. */
static inline struct fib_nh_common *wgvia_fib_info_nhc(struct fib_info *fi,
						       unsigned int index)
{
	return index < fib_info_num_path(fi) ? fib_info_nhc(fi, index) : NULL;
}

static inline struct fib_nh_common *wgvia_nexthop_nhc(struct nexthop *nh,
						      unsigned int index)
{
	return index < nexthop_num_path(nh) ? nexthop_fib_nhc(nh, index) : NULL;
}

/* The sibling of @first that follows @f6i, or NULL at the end of the list. A
 * list whose head, @first, was removed under the reader has no end but that
 * the head has no siblings any more.
 */
static inline struct fib6_info *
wgvia_fib6_next_sibling(struct fib6_info *first, struct fib6_info *f6i)
{
	struct list_head *next;

	if (!READ_ONCE(first->fib6_nsiblings))
		return NULL;
	next = rcu_dereference(list_next_rcu(&f6i->fib6_siblings));
	if (next == &first->fib6_siblings)
		return NULL;
	return list_entry(next, struct fib6_info, fib6_siblings);
}

/* Rules that match ports need to see the packet's, swapped for its reply. The
 * kernel's own early dissection is for forwarded packets, and not done for rules
 * with "iif lo", which what the host sends itself has to obey.
 */
static inline bool wgvia_rules_match_ports(const struct fib_rules_ops *ops)
{
	struct fib_rule *rule;

	list_for_each_entry_rcu(rule, &ops->rules_list, list) {
		if (rule->ip_proto || fib_rule_port_range_set(&rule->sport_range) ||
		    fib_rule_port_range_set(&rule->dport_range))
			return true;
	}
	return false;
}

static inline void wgvia_dissect(struct net *net, const struct sk_buff *skb,
				 bool reply, struct flowi_common *common,
				 union flowi_uli *uli)
{
	struct flow_keys keys = {};

	__skb_flow_dissect(net, skb, &flow_keys_dissector, &keys, NULL, 0, 0, 0,
			   FLOW_DISSECTOR_F_STOP_AT_ENCAP);
	common->flowic_proto = keys.basic.ip_proto;
	uli->ports.sport = reply ? keys.ports.dst : keys.ports.src;
	uli->ports.dport = reply ? keys.ports.src : keys.ports.dst;
}

static inline void wgvia_fib4_dissect(struct net *net, const struct sk_buff *skb,
				      struct flowi4 *fl4, bool reply)
{
#ifdef CONFIG_IP_MULTIPLE_TABLES
	if (net->ipv4.fib_has_custom_rules &&
	    wgvia_rules_match_ports(net->ipv4.rules_ops))
		wgvia_dissect(net, skb, reply, &fl4->__fl_common, &fl4->uli);
#endif
}

static inline void wgvia_fib6_dissect(struct net *net, const struct sk_buff *skb,
				      struct flowi6 *fl6, bool reply)
{
#ifdef CONFIG_IPV6_MULTIPLE_TABLES
	if (net->ipv6.fib6_has_custom_rules &&
	    wgvia_rules_match_ports(net->ipv6.fib6_rules_ops))
		wgvia_dissect(net, skb, reply, &fl6->__fl_common, &fl6->uli);
#endif
}

/* The rules of a network namespace, or NULL as long as it has only had those that
 * it starts with. Under RCU or RTNL.
 */
static inline const struct fib_rules_ops *
wgvia_fib4_rules(const struct net_device *dev)
{
#ifdef CONFIG_IP_MULTIPLE_TABLES
	struct net *net = dev_net(dev);

	return READ_ONCE(net->ipv4.fib_has_custom_rules) ? net->ipv4.rules_ops : NULL;
#else
	return NULL;
#endif
}

static inline const struct fib_rules_ops *
wgvia_fib6_rules(const struct net_device *dev)
{
#ifdef CONFIG_IPV6_MULTIPLE_TABLES
	struct net *net = dev_net(dev);

	return READ_ONCE(net->ipv6.fib6_has_custom_rules) ?
		net->ipv6.fib6_rules_ops : NULL;
#else
	return NULL;
#endif
}

static inline void wgvia_fib_rules_lock(const struct fib_rules_ops *ops)
{
	mutex_lock(&((struct fib_rules_ops *)ops)->lock);
}

static inline void wgvia_fib_rules_unlock(const struct fib_rules_ops *ops)
{
	mutex_unlock(&((struct fib_rules_ops *)ops)->lock);
}

/* The table of the VRF that @dev, which is none itself, is in; 0 if it is in none. Under RCU. */
static inline u32 wgvia_vrf_table(const struct net_device *dev)
{
	return netif_is_l3_slave(dev) ? l3mdev_fib_table_rcu(dev) : 0;
}

/* The table that has the host's own addresses in the VRF of @dev: without rules of its own, a
 * namespace has those of local in the trie of main. Under RCU.
 */
static inline u32 wgvia_fib4_local_table(const struct net_device *dev,
					 const struct fib_rules_ops *rules)
{
	u32 vrf = wgvia_vrf_table(dev);

	if (vrf)
		return vrf;
	return rules ? RT_TABLE_LOCAL : RT_TABLE_MAIN;
}

/* As fib_get_table(), which is not exported: not fib_new_table(), which makes
 * tables. Under RCU.
 */
static inline struct fib_table *wgvia_fib4_table(const struct net_device *dev,
						 u32 id)
{
#ifdef CONFIG_IP_MULTIPLE_TABLES
	struct net *net = dev_net_rcu(dev);
	struct hlist_head *head;
	struct fib_table *tb;

	head = &net->ipv4.fib_table_hash[id & (FIB_TABLE_HASHSZ - 1)];
	hlist_for_each_entry_rcu(tb, head, tb_hlist) {
		if (tb->tb_id == id)
			return tb;
	}
	return NULL;
#else
	return fib_get_table(dev_net_rcu(dev), id);
#endif
}

/* The root of a table, or NULL if there is no such table; and the entry that stands for
 * no route. Under RCU.
 */
static inline const struct fib6_node *
wgvia_fib6_root(const struct net_device *dev, u32 id,
		const struct fib6_info **nothing)
{
	struct net *net = dev_net_rcu(dev);
	struct fib6_table *table = fib6_get_table(net, id);

	*nothing = net->ipv6.fib6_null_entry;
	return table ? &table->tb6_root : NULL;
}

#ifdef CONFIG_WGVIA_STOCK
/* The route of a dst, or NULL if it rejects: fib6_lookup() stops at throw routes and takes no
 * notice of what rules suppress, while the lookup of a dst goes on (patches/linux/fixes).
 * Under RCU.
 */
static inline struct fib6_info *wgvia_fib6_of_dst(struct net *net,
						  struct flowi6 *fl6, int flags)
{
	struct dst_entry *dst = ip6_route_lookup(net, fl6, NULL, flags);
	struct fib6_info *f6i = NULL;

	if (!dst->error)
		f6i = rcu_dereference(dst_rt6_info(dst)->from);
	dst_release(dst);
	return f6i;
}
#endif

/* A table, and the length of a prefix in it; no table has the number 0. */
struct wgvia_place {
	u32 table;
	u8 len;
};

/* Tells whether it is routed without a look at the FIB: see ip_route_output_key_hash_rcu(). */
static inline bool wgvia_is_routed_by_device(const struct flowi4 *fl4)
{
	if (fl4->flowi4_oif)
		return ipv4_is_local_multicast(fl4->daddr) ||
		       ipv4_is_lbcast(fl4->daddr);
	return fl4->saddr && (ipv4_is_multicast(fl4->daddr) ||
			      ipv4_is_lbcast(fl4->daddr));
}

/* The dst for what the host sends, with a reference, or NULL; and the place of the
 * route if it is a unicast one, which an IPv4 dst does not say
 */
static inline struct dst_entry *wgvia_route4(struct net *net, struct flowi4 *fl4,
					     struct wgvia_place *place)
{
	struct fib_result res = {};
	struct flowi4 again = *fl4;
	struct rtable *rt;

	rt = ip_route_output_key_hash(net, fl4, NULL);
	if (IS_ERR(rt))
		return NULL;
	if (wgvia_is_routed_by_device(&again))
		return &rt->dst;
	rcu_read_lock();
	if (!fib_lookup(net, &again, &res, FIB_LOOKUP_NOREF) &&
	    res.type == RTN_UNICAST) {
		place->table = res.table->tb_id;
		place->len = res.prefixlen;
	}
	rcu_read_unlock();
	return &rt->dst;
}

static inline struct dst_entry *wgvia_route6(struct net *net, struct flowi6 *fl6,
					     struct wgvia_place *place)
{
	/* As for a socket that is bound to a device */
	int flags = fl6->flowi6_oif ? RT6_LOOKUP_F_IFACE : 0;
	const struct fib6_info *from;
	struct dst_entry *dst;

	dst = ip6_route_output_flags(net, NULL, fl6, flags);
	if (dst->error) {
		dst_release(dst);
		return NULL;
	}
	rcu_read_lock();
	from = rcu_dereference(dst_rt6_info(dst)->from);
	if (from && from->fib6_table && from->fib6_type == RTN_UNICAST) {
		place->table = from->fib6_table->tb6_id;
		place->len = from->fib6_dst.plen;
	}
	rcu_read_unlock();
	return dst;
}

#endif /* _WGVIA_HELPERS_FIB_H */
