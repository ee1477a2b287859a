// SPDX-License-Identifier: GPL-2.0
/*
 * Times the choice of a peer and the check of a source: AllowedIPs' own lookups and what
 * wgvia's hook does in their place, on the same packets, as wg_xmit() and
 * wg_packet_consume_data_done() call them.
 *
 * The parameters "allowedips" and "routes" name two WireGuard devices with the same peers:
 * AllowedIPs of the first hold the prefixes, and routes by the second do. What is written
 * to /proc/wgvia_bench is the addresses of the packets, in the order of the packets. To
 * read it is to do one round: each way has all the packets, one way after the other.
 *
 * The functions are not exported: whoever loads this finds them in /proc/kallsyms. Both
 * sides are called through a pointer, so neither has an advantage.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "device.h"
#include "hook.h"
#include "peer.h"

#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>
#include <net/ip6_route.h>
#include <net/lwtunnel.h>
#include <net/route.h>

#define FUNCTION(name)						\
	static unsigned long addr_##name;				\
	module_param_named(name, addr_##name, ulong, 0400);		\
	MODULE_PARM_DESC(name, "address of the function")

FUNCTION(wg_allowedips_lookup_dst);
FUNCTION(wg_allowedips_lookup_src);
FUNCTION(wg_peer_put);
FUNCTION(__wg_hook_select_peer);
FUNCTION(__wg_hook_check_source);

#define CALL(name, ...) (((typeof(name) *)addr_##name)(__VA_ARGS__))

static char *allowedips;
module_param(allowedips, charp, 0600);
MODULE_PARM_DESC(allowedips, "device whose AllowedIPs hold the prefixes");
static char *routes;
module_param(routes, charp, 0600);
MODULE_PARM_DESC(routes, "device that the routes lead through");
static int family = 4;
module_param(family, int, 0600);
MODULE_PARM_DESC(family, "4 or 6");
static unsigned int calls = 200000;
module_param(calls, uint, 0600);
MODULE_PARM_DESC(calls, "how often a way is called in a round, at least");

/* One packet. Each owns a reference to what it points to. */
struct packet {
	union {
		__be32 v4;
		struct in6_addr v6;
	} addr;
	struct dst_entry *dst;		/* by the routes, for the address */
	struct wg_peer *by_allowedips;	/* of the first device */
	struct wg_peer *by_routes;	/* the same key, of the second */
	struct wg_peer *chosen;		/* in this round */
};

/* Packets that are timed together; the number of packets is a multiple. */
#define SLICE	512

enum way { NOTHING, ALLOWEDIPS, ROUTES, WAYS };

static DEFINE_MUTEX(lock);
static struct packet *packets;
static size_t len, written;
static bool ready;
static struct net_device *dev_allowedips, *dev_routes;
static struct sk_buff *skb;

static size_t addr_size(void)
{
	return family == 4 ? sizeof(__be32) : sizeof(struct in6_addr);
}

static void put_packets(void)
{
	for (size_t i = 0; i < len; i++) {
		dst_release(packets[i].dst);
		CALL(wg_peer_put, packets[i].by_allowedips);
		CALL(wg_peer_put, packets[i].by_routes);
	}
	kvfree(packets);
	packets = NULL;
	len = 0;
	written = 0;
	ready = false;
	dev_put(dev_allowedips);
	dev_put(dev_routes);
	dev_allowedips = NULL;
	dev_routes = NULL;
}

static __always_inline void set_dst(const struct packet *packet, bool v4)
{
	if (v4)
		ip_hdr(skb)->daddr = packet->addr.v4;
	else
		ipv6_hdr(skb)->daddr = packet->addr.v6;
	skb_dst_set_noref(skb, packet->dst);
}

static __always_inline void set_src(const struct packet *packet, bool v4)
{
	if (v4)
		ip_hdr(skb)->saddr = packet->addr.v4;
	else
		ipv6_hdr(skb)->saddr = packet->addr.v6;
}

/* Returns how many packets got no peer */
static noinline size_t choose(enum way way, struct packet *first, struct packet *end)
{
	const bool v4 = family == 4;
	struct wg_device *by_allowedips = netdev_priv(dev_allowedips);
	struct wg_device *by_routes = netdev_priv(dev_routes);
	size_t bad = 0;

	for (struct packet *packet = first; packet < end; packet++) {
		struct wg_peer *peer = NULL;

		set_dst(packet, v4);
		if (way == ALLOWEDIPS)
			peer = CALL(wg_allowedips_lookup_dst, &by_allowedips->peer_allowedips, skb);
		else if (way == ROUTES)
			CALL(__wg_hook_select_peer, by_routes, skb, &peer);
		packet->chosen = peer;
		bad += !peer;
	}
	skb->_skb_refdst = 0;
	return way == NOTHING ? 0 : bad;
}

/* Returns how many packets were not accepted */
static noinline size_t check(enum way way, struct packet *first, struct packet *end)
{
	const bool v4 = family == 4;
	struct wg_device *by_allowedips = netdev_priv(dev_allowedips);
	size_t bad = 0;

	for (struct packet *packet = first; packet < end; packet++) {
		set_src(packet, v4);
		if (way == ALLOWEDIPS) {
			struct wg_peer *peer;

			peer = CALL(wg_allowedips_lookup_src, &by_allowedips->peer_allowedips, skb);
			CALL(wg_peer_put, peer);
			bad += peer != packet->by_allowedips;
		} else if (way == ROUTES) {
			bad += CALL(__wg_hook_check_source, packet->by_routes, skb) !=
			       WG_HOOK_ACCEPT;
		}
	}
	return bad;
}

/* Use what the kernel has just used: when it asks for a peer, the dst and the flags of its
 * lightweight-tunnel state, which ip_finish_output2() and ip6_finish_output2() look at; when
 * it asks about a source, the peer, by whose keys the packet was decrypted.
 */
static void touch(const struct packet *first, const struct packet *end)
{
	for (const struct packet *packet = first; packet < end; packet++) {
		const struct lwtunnel_state *state = READ_ONCE(packet->dst->lwtstate);

		(void)READ_ONCE(packet->dst->dev);
		if (state)
			(void)READ_ONCE(state->flags);
		(void)READ_ONCE(packet->by_allowedips->device);
		(void)READ_ONCE(packet->by_routes->device);
	}
}

static int compare(const void *a, const void *b)
{
	return cmp_int(*(const u64 *)a, *(const u64 *)b);
}

/* Picoseconds for each packet: the median of slices that are short, so that what takes the
 * processor away in between is in few of them.
 */
static u64 time_way(size_t (*run)(enum way way, struct packet *first, struct packet *end),
		    enum way way, size_t *bad)
{
	size_t slices = len / SLICE, passes = max_t(size_t, calls / len, 1);
	u64 *times = kvmalloc_array(slices * passes, sizeof(*times), GFP_KERNEL);
	u64 median = 0;

	if (!times)
		return 0;
	for (size_t i = 0; i < slices * passes; i++) {
		struct packet *first = packets + i % slices * SLICE;
		u64 start;

		local_bh_disable();
		rcu_read_lock();
		touch(first, first + SLICE);
		start = ktime_get_ns();
		*bad += run(way, first, first + SLICE);
		times[i] = ktime_get_ns() - start;
		rcu_read_unlock();
		local_bh_enable();
		/* Work that is done later, with the packet, is not measured. */
		for (struct packet *packet = first; packet < first + SLICE; packet++) {
			CALL(wg_peer_put, packet->chosen);
			packet->chosen = NULL;
		}
		cond_resched();
	}
	sort(times, slices * passes, sizeof(*times), compare, NULL);
	median = times[slices * passes / 2];
	kvfree(times);
	return median * 1000 / SLICE;
}

static void show_round(struct seq_file *m, const char *name,
		       size_t (*run)(enum way way, struct packet *first, struct packet *end))
{
	size_t bad[WAYS] = {};
	u64 ps[WAYS];

	for (int way = 0; way < WAYS; way++)
		ps[way] = time_way(run, way, &bad[way]);
	seq_printf(m, "%s %llu %llu %llu bad %zu %zu\n", name, ps[NOTHING], ps[ALLOWEDIPS],
		   ps[ROUTES], bad[ALLOWEDIPS], bad[ROUTES]);
}

/* All that a packet needs, except for its address */
static int prepare(struct net *net)
{
	struct wg_device *wg;

	dev_allowedips = dev_get_by_name(net, allowedips);
	dev_routes = dev_get_by_name(net, routes);
	if (!dev_allowedips || !wg_is_device(dev_allowedips) ||
	    !dev_routes || !wg_is_device(dev_routes))
		return -ENODEV;
	wg = netdev_priv(dev_allowedips);
	skb->protocol = htons(family == 4 ? ETH_P_IP : ETH_P_IPV6);
	skb->dev = dev_routes;
	memset(skb->data, 0, skb->len);
	if (family == 4) {
		ip_hdr(skb)->version = 4;
		ip_hdr(skb)->ihl = 5;
		ip_hdr(skb)->ttl = 64;
		ip_hdr(skb)->protocol = IPPROTO_UDP;
	} else {
		ipv6_hdr(skb)->version = 6;
		ipv6_hdr(skb)->hop_limit = 64;
		ipv6_hdr(skb)->nexthdr = IPPROTO_UDP;
	}

	for (size_t i = 0; i < len; i++) {
		struct packet *packet = &packets[i];
		const u8 *key;

		if (family == 4) {
			struct flowi4 fl4 = { .daddr = packet->addr.v4 };
			struct rtable *rt = ip_route_output_key(net, &fl4);

			if (IS_ERR(rt))
				return PTR_ERR(rt);
			packet->dst = &rt->dst;
			/* Of the routes alone, which is what a packet's sender has */
			ip_hdr(skb)->saddr = fl4.saddr;
		} else {
			struct flowi6 fl6 = { .daddr = packet->addr.v6 };

			packet->dst = ip6_route_output(net, NULL, &fl6);
			if (packet->dst->error)
				return packet->dst->error;
		}
		if (packet->dst->dev != dev_routes)
			return -ENETUNREACH;
		set_dst(packet, family == 4);
		packet->by_allowedips = CALL(wg_allowedips_lookup_dst, &wg->peer_allowedips, skb);
		skb->_skb_refdst = 0;
		if (!packet->by_allowedips)
			return -ENOKEY;
		key = packet->by_allowedips->handshake.remote_static;
		packet->by_routes = wg_hook_peer_by_key(dev_routes, key);
		if (!packet->by_routes)
			return -ENOKEY;
		cond_resched();
	}
	ready = true;
	return 0;
}

static int bench_show(struct seq_file *m, void *v)
{
	int err = 0;

	mutex_lock(&lock);
	if (!ready)
		err = len && written == len * addr_size() ?
		      prepare(current->nsproxy->net_ns) : -ENODATA;
	if (!err) {
		show_round(m, "choose", choose);
		show_round(m, "check", check);
	}
	mutex_unlock(&lock);
	return err;
}

static int bench_open(struct inode *inode, struct file *file)
{
	return single_open(file, bench_show, NULL);
}

/* All addresses in one write */
static ssize_t bench_write(struct file *file, const char __user *from, size_t size, loff_t *pos)
{
	ssize_t ret = size;

	mutex_lock(&lock);
	put_packets();
	packets = kvcalloc(size / addr_size(), sizeof(*packets), GFP_KERNEL);
	if (!packets) {
		ret = -ENOMEM;
		goto out;
	}
	len = size / addr_size() / SLICE * SLICE;
	for (size_t i = 0; i < len; i++) {
		if (copy_from_user(&packets[i].addr, from + i * addr_size(), addr_size())) {
			ret = -EFAULT;
			goto out;
		}
	}
	written = len * addr_size();
out:
	mutex_unlock(&lock);
	return ret;
}

static const struct proc_ops bench_ops = {
	.proc_open	= bench_open,
	.proc_read	= seq_read,
	.proc_write	= bench_write,
	.proc_lseek	= seq_lseek,
	.proc_release	= single_release,
};

static bool __init is_address_of(const char *name, unsigned long addr)
{
	char symbol[KSYM_SYMBOL_LEN];

	sprint_symbol_no_offset(symbol, addr);
	symbol[strcspn(symbol, " ")] = 0;	/* the module's name follows */
	if (!strcmp(symbol, name))
		return true;
	pr_err("%s is given the address of %s\n", name, symbol);
	return false;
}

#define IS_ADDRESS_OF(name)	is_address_of(#name, addr_##name)

static int __init bench_init(void)
{
	if (!IS_ADDRESS_OF(wg_allowedips_lookup_dst) ||
	    !IS_ADDRESS_OF(wg_allowedips_lookup_src) ||
	    !IS_ADDRESS_OF(wg_peer_put) ||
	    !IS_ADDRESS_OF(__wg_hook_select_peer) ||
	    !IS_ADDRESS_OF(__wg_hook_check_source))
		return -EINVAL;
	skb = alloc_skb(128, GFP_KERNEL);
	if (!skb)
		return -ENOMEM;
	skb_reset_network_header(skb);
	skb_put(skb, sizeof(struct ipv6hdr));
	if (!proc_create("wgvia_bench", 0600, NULL, &bench_ops)) {
		kfree_skb(skb);
		return -ENOMEM;
	}
	return 0;
}

static void __exit bench_exit(void)
{
	remove_proc_entry("wgvia_bench", NULL);
	put_packets();
	kfree_skb(skb);
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("How long choosing a peer and checking a source take");
MODULE_LICENSE("GPL");
