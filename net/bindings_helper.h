/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Input of bindgen: the headers whose types and functions the abstractions
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

#include "helpers/fib.h"
#include "helpers/notification.h"

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

/* A copy to keep for longer than RCU keeps a dst without a reference */
static inline struct sk_buff *wgvia_skb_copy(const struct sk_buff *skb)
{
	struct sk_buff *copy = skb_copy(skb, GFP_ATOMIC);

	if (copy)
		skb_dst_force(copy);
	return copy;
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
 * place, and copies the data of a clone first: a clone would save nothing. With BH
 * disabled.
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

/* The peer that a packet is for, if it is the copy that is being sent. Only the first
 * to ask gets an answer: from then on the copy may be freed, and on PREEMPT_RT a packet
 * of another sender on this CPU may be where it was.
 */
static inline struct wg_peer *wgvia_copy_peer(const struct sk_buff *skb)
{
	if (__this_cpu_read(copy_mark.skb) != skb)
		return NULL;
	__this_cpu_write(copy_mark.skb, NULL);
	return __this_cpu_read(copy_mark.peer);
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

/* Counts as many packets as this one stands for */
static inline void wgvia_percpu_count(unsigned long counter,
				      const struct sk_buff *skb)
{
	this_cpu_add(*(u64 __percpu *)counter, wgvia_skb_segs(skb));
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

/* Copies: nothing keeps this module loaded until a request that failed, or one
 * whose route is deleted at once, is acknowledged.
 */
static inline void wgvia_extack_set(struct netlink_ext_ack *extack,
				    const char *msg)
{
	NL_SET_ERR_MSG_FMT(extack, "%s", msg);
}

#endif /* _WGVIA_BINDINGS_HELPER_H */
