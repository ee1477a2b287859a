/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What bindgen reads: the headers whose types and functions the abstractions
 * use, and static inlines for what is a macro or hides in a nameless union.
 * bindgen writes the shims for all static inlines (--wrap-static-fns).
 */

#ifndef _WGVIA_BINDINGS_HELPER_H
#define _WGVIA_BINDINGS_HELPER_H

#include <linux/ipv6.h>
#include <linux/local_lock.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/workqueue.h>
#include <net/addrconf.h>
#include <net/dst_metadata.h>
#include <net/fib_rules.h>
#include <net/flow_dissector.h>
#include <net/genetlink.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/inetpeer.h>
#include <net/l3mdev.h>
#include <net/lwtunnel.h>
#include <net/netlink.h>
#include <net/netns/generic.h>
#include <net/nexthop.h>
#include <net/route.h>
#include <net/wireguard.h>

#include <uapi/linux/wgvia.h>
#include <uapi/linux/wgvia_rta.h>
#include <uapi/linux/wireguard.h>

#include "../netlink/generated/wgvia.h"
#include "trace.h"

#ifdef CONFIG_WGVIA_STOCK
#include "stock/stock.h"
#endif

/* warn_on!() has kbuild rewrite a file of the kernel's tree when a module that
 * is not part of it is built again.
 */
static inline bool wgvia_warn_on_once(bool cond)
{
	return WARN_ON_ONCE(cond);
}

static inline __be16 wgvia_skb_protocol(const struct sk_buff *skb)
{
	return skb->protocol;
}

/* The addresses of a packet by value: its header may be anywhere in memory,
 * where C, compiled for this, may read it and a Rust reference may not point.
 */
static inline __be32 wgvia_ip_saddr(const struct sk_buff *skb)
{
	return ip_hdr(skb)->saddr;
}

static inline __be32 wgvia_ip_daddr(const struct sk_buff *skb)
{
	return ip_hdr(skb)->daddr;
}

static inline dscp_t wgvia_ip_dscp(const struct sk_buff *skb)
{
	return ip4h_dscp(ip_hdr(skb));
}

static inline struct in6_addr wgvia_ipv6_saddr(const struct sk_buff *skb)
{
	return ipv6_hdr(skb)->saddr;
}

static inline struct in6_addr wgvia_ipv6_daddr(const struct sk_buff *skb)
{
	return ipv6_hdr(skb)->daddr;
}

static inline __be32 wgvia_ipv6_flowinfo(const struct sk_buff *skb)
{
	return ip6_flowinfo(ipv6_hdr(skb));
}

static inline u32 wgvia_skb_mark(const struct sk_buff *skb)
{
	return skb->mark;
}

/* Of the socket that sent the packet, else of the owner of the namespace, as for
 * ip_route_me_harder()
 */
static inline kuid_t wgvia_skb_uid(struct net *net, const struct sk_buff *skb)
{
	return sock_net_uid(net, skb_to_full_sk(skb));
}

/* How many packets this one stands for, as bstats_update() counts */
static inline u32 wgvia_skb_segs(const struct sk_buff *skb)
{
	return skb_is_gso(skb) ? max_t(u32, skb_shinfo(skb)->gso_segs, 1) : 1;
}

/* The dst that routed the packet, if it is one of this device; under RCU */
static inline const struct dst_entry *
wgvia_skb_dst_on(const struct sk_buff *skb, const struct net_device *dev)
{
	const struct dst_entry *dst = skb_dst(skb);

	return skb_valid_dst(skb) && dst_dev_rcu(dst) == dev ? dst : NULL;
}

static inline const struct rtable *wgvia_dst_rtable(const struct dst_entry *dst)
{
	return dst_rtable(dst);
}

static inline const struct rt6_info *
wgvia_dst_rt6_info(const struct dst_entry *dst)
{
	return dst_rt6_info(dst);
}

/* The fib6_nh of a fib6_info that has no nexthop object */
static inline struct fib_nh_common *wgvia_fib6_nhc(struct fib6_info *f6i)
{
	return &f6i->fib6_nh->nh_common;
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

/* The type of lightweight tunnel that names a peer. A kernel without our patches has no
 * number for it: there it is one that the kernel itself is built not to use. bindgen
 * evaluates no BIT().
 */
#ifdef CONFIG_WGVIA_STOCK
static const u16 wgvia_lwtunnel_encap_type = LWTUNNEL_ENCAP_IOAM6;
static const u16 wgvia_lwtunnel_state_gateway = 0;
#else
static const u16 wgvia_lwtunnel_encap_type = LWTUNNEL_ENCAP_WGPEER;
static const u16 wgvia_lwtunnel_state_gateway = LWTUNNEL_STATE_GATEWAY;
#endif

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

static inline const struct fib6_info *wgvia_fib6_null_entry(const struct net *net)
{
	return net->ipv6.fib6_null_entry;
}

static inline const struct fib6_node *
wgvia_fib6_subtree(const struct fib6_node *node)
{
#ifdef CONFIG_IPV6_SUBTREES
	return rcu_dereference(node->subtree);
#else
	return NULL;
#endif
}

#ifdef CONFIG_WGVIA_STOCK
/* The route of a dst, or NULL if it rejects: where there are rules fib6_lookup() stops at
 * throw routes and what rules suppress, while the lookup of a dst goes on
 * (patches/linux/fixes). Under RCU.
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

static inline struct workqueue_struct *wgvia_alloc_workqueue(const char *name)
{
	return alloc_workqueue("%s", WQ_UNBOUND, 0, name);
}

static inline u64 wgvia_uptime_ms(void)
{
	return jiffies64_to_msecs(get_jiffies_64() - INITIAL_JIFFIES);
}

static inline int wgvia_skb_iif(const struct sk_buff *skb)
{
	return skb->skb_iif;
}

static inline struct sk_buff *wgvia_skb_copy(const struct sk_buff *skb)
{
	return skb_copy(skb, GFP_ATOMIC);
}

/* A packet that begins with this header, as a device gets it to send, or has
 * received it
 */
static inline struct sk_buff *wgvia_skb_new(struct net_device *dev,
					    const void *header, size_t len,
					    __be16 protocol, u32 mark)
{
	struct sk_buff *skb = alloc_skb(len, GFP_KERNEL);

	if (!skb)
		return NULL;
	skb_reset_network_header(skb);
	skb_put_data(skb, header, len);
	skb->protocol = protocol;
	skb->dev = dev;
	skb->mark = mark;
	return skb;
}

/* Takes over the reference to the dst. */
static inline void wgvia_skb_set_dst(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_set(skb, dst);
}

static inline struct net *wgvia_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

/* A table, and the length of a prefix in it; no table has the number 0. */
struct wgvia_place {
	u32 table;
	u8 len;
};

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

static inline u32 wgvia_dst_ifindex(const struct dst_entry *dst)
{
	u32 ifindex;

	rcu_read_lock();
	ifindex = dst_dev_rcu(dst)->ifindex;
	rcu_read_unlock();
	return ifindex;
}

static inline bool wgvia_tx_drop_is_enabled(void)
{
	return trace_wgvia_tx_drop_enabled();
}

static inline bool wgvia_rx_drop_is_enabled(void)
{
	return trace_wgvia_rx_drop_enabled();
}

static inline void wgvia_do_tx_drop(const struct net_device *dev, const u8 *key,
				    const struct sk_buff *skb, const char *clause)
{
	trace_wgvia_tx_drop(dev, key, skb, clause);
}

static inline void wgvia_do_rx_drop(const struct net_device *dev, const u8 *key,
				    const struct sk_buff *skb, const char *clause)
{
	trace_wgvia_rx_drop(dev, key, skb, clause);
}

static inline void wgvia_packet_path_begin(void)
{
	local_bh_disable();
	rcu_read_lock();
}

static inline void wgvia_packet_path_end(void)
{
	rcu_read_unlock();
	local_bh_enable();
}

static inline void wgvia_cond_resched(void)
{
	cond_resched();
}

/* The copy that this CPU is sending, and the peer that it is for: see
 * wgvia_send_copy()
 */
struct copy_mark {
	local_lock_t bh_lock;
	const struct sk_buff *skb;
	struct wg_peer *peer;
};

static DEFINE_PER_CPU(struct copy_mark, copy_mark) = {
	.bh_lock = INIT_LOCAL_LOCK(bh_lock),
};

/* Sends a copy of a packet to a peer by the device's own transmit function, which
 * asks the hook for the peer before it does anything else. WireGuard encrypts in
 * place: a clone would not do. With BH disabled.
 */
static inline bool wgvia_send_copy(struct net_device *dev,
				   const struct sk_buff *skb,
				   struct wg_peer *peer)
{
	struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);

	if (!copy)
		return false;
	/* On PREEMPT_RT, BH disabled is not enough to have the mark alone. */
	local_lock_nested_bh(&copy_mark.bh_lock);
	__this_cpu_write(copy_mark.skb, copy);
	__this_cpu_write(copy_mark.peer, peer);
	dev->netdev_ops->ndo_start_xmit(copy, dev);
	__this_cpu_write(copy_mark.skb, NULL);
	local_unlock_nested_bh(&copy_mark.bh_lock);
	return true;
}

/* The peer that a packet is for, if it is the copy that is being sent */
static inline struct wg_peer *wgvia_copy_peer(const struct sk_buff *skb)
{
	return __this_cpu_read(copy_mark.skb) == skb ?
		__this_cpu_read(copy_mark.peer) : NULL;
}

/* Per-CPU counters by number: bindgen knows no address spaces */
static inline unsigned long wgvia_percpu_alloc(size_t len)
{
	return (unsigned long)__alloc_percpu(len, sizeof(u64));
}

static inline void wgvia_percpu_free(unsigned long counter)
{
	free_percpu((void __percpu *)counter);
}

static inline void wgvia_percpu_add(unsigned long counter, u64 val)
{
	this_cpu_add(*(u64 __percpu *)counter, val);
}

static inline u64 wgvia_percpu_sum(unsigned long counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr((u64 __percpu *)counter, cpu));
	return sum;
}

static inline bool wgvia_netdev_is_registered(const struct net_device *dev)
{
	return READ_ONCE(dev->reg_state) == NETREG_REGISTERED;
}

static inline bool wgvia_netdev_is_running(const struct net_device *dev)
{
	return netif_running(dev);
}

static inline void wgvia_netdev_set_multicast(struct net_device *dev)
{
	/* Not dev->flags: these say too what others want for a time, as
	 * IFF_PROMISC.
	 */
	if (dev->flags & IFF_MULTICAST)
		return;
	/* Whoever makes a device tells of it when it is complete. */
	if (dev->rtnl_link_initializing)
		dev->flags |= IFF_MULTICAST;
	else
		dev_change_flags(dev, netif_get_flags(dev) | IFF_MULTICAST, NULL);
}

static inline struct net *wgvia_netdev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

static inline u32 *wgvia_net_word(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

static inline struct net_device *wgvia_device_from_index(struct net *net,
							 u32 ifindex)
{
	unsigned long index = ifindex;

	return xa_find(&net->dev_by_index, &index, ULONG_MAX, XA_PRESENT);
}

static inline struct net_device *
wgvia_netdev_get_by_index(struct net *net, int ifindex,
			  netdevice_tracker *tracker)
{
	return netdev_get_by_index(net, ifindex, tracker, GFP_KERNEL);
}

static inline void wgvia_netdev_hold(struct net_device *dev,
				     netdevice_tracker *tracker)
{
	netdev_hold(dev, tracker, GFP_KERNEL);
}

static inline void wgvia_netdev_put(struct net_device *dev,
				    netdevice_tracker *tracker)
{
	netdev_put(dev, tracker);
}

static inline u32 wgvia_callback_portid(const struct netlink_callback *cb)
{
	return NETLINK_CB(cb->skb).portid;
}

/* Changes with every device that comes or goes, and is never 0 */
static inline unsigned int wgvia_device_generation(const struct net *net)
{
	return net->dev_base_seq;
}

static inline size_t wgvia_skb_tailroom(const struct sk_buff *skb)
{
	return skb_tailroom(skb);
}

static inline struct sk_buff *wgvia_genlmsg_new(void)
{
	return genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
}

static inline void *wgvia_genlmsg_put_reply(struct sk_buff *skb,
					    struct genl_info *info,
					    const struct genl_family *family,
					    u8 cmd)
{
	return genlmsg_put_reply(skb, info, family, 0, cmd);
}

/* The notifications of a network namespace: how many there were of each group, and
 * the lock under which they are numbered, written and sent, so that a listener gets
 * them in order.
 */
struct notifications {
	spinlock_t lock;
	u32 seq[WGVIA_NLGRP_ENDPOINTS + 1];
};

static unsigned int notifications_id;

static int __net_init notifications_init(struct net *net)
{
	struct notifications *all = net_generic(net, notifications_id);

	spin_lock_init(&all->lock);
	return 0;
}

static struct pernet_operations notifications_ops = {
	.init = notifications_init,
	.id = &notifications_id,
	.size = sizeof(struct notifications),
};

static inline int wgvia_notifications_register(void)
{
	return register_pernet_subsys(&notifications_ops);
}

static inline void wgvia_notifications_unregister(void)
{
	unregister_pernet_subsys(&notifications_ops);
}

static inline bool wgvia_notification_wanted(const struct genl_family *family,
					     struct net *net, u32 group)
{
	return genl_has_listeners(family, net, group);
}

/* Returns the number of the notification, with the lock held */
static inline u32 wgvia_notification_begin(struct net *net, u32 group)
{
	struct notifications *all = net_generic(net, notifications_id);

	spin_lock_bh(&all->lock);
	return ++all->seq[group];
}

static inline void wgvia_notification_end(struct net *net)
{
	struct notifications *all = net_generic(net, notifications_id);

	spin_unlock_bh(&all->lock);
}

static inline struct sk_buff *wgvia_notification_new(void)
{
	return genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_ATOMIC);
}

static inline void wgvia_notification_send(const struct genl_family *family,
					   struct net *net, struct sk_buff *skb,
					   u32 group)
{
	/* A listener whose buffer is full gets to know from its socket. */
	genlmsg_multicast_netns(family, net, skb, 0, group, GFP_ATOMIC);
}

/* As for a listener whose buffer is full */
static inline void wgvia_notification_lost(const struct genl_family *family,
					   struct net *net, u32 group)
{
	genl_set_err(family, net, 0, group, -ENOBUFS);
}

/* Copies: nothing keeps this module loaded until a request that failed, or one
 * whose route is deleted at once, is acknowledged.
 */
static inline void wgvia_extack_set(struct netlink_ext_ack *extack,
				    const char *msg)
{
	NL_SET_ERR_MSG_FMT(extack, "%s", msg);
}

#endif /* _WGVIA_BINDINGS_HELPER_H */
