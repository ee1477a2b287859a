// SPDX-License-Identifier: GPL-2.0
/*
 * include/net/wireguard.h for a wireguard.ko without our patches: as its hook.c and
 * allowedips.c there, by the layout of its structs.
 */

#include <linux/bitops.h>
#include <linux/hash.h>
#include <linux/in.h>
#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/unaligned.h>

#include "wireguard_ko.h"

/* The limits of a session in WireGuard's protocol */
#define REJECT_AFTER_TIME	180
#define REJECT_AFTER_MESSAGES	(U64_MAX - (8192 - BITS_PER_LONG) - 1)

/* A hook that is attached; in a table, since the device has no place for it */
struct attached {
	struct hlist_node node;
	void *wg;
	struct net_device *dev;
	struct wg_hook *hook;
};

#define TABLE_BITS 8

/* Written under RTNL and the device's update lock */
static struct hlist_head table[1 << TABLE_BITS];

static struct attached *find_attached(const void *wg)
{
	struct attached *a;

	hlist_for_each_entry_rcu(a, &table[hash_ptr(wg, TABLE_BITS)], node,
				 lockdep_rtnl_is_held()) {
		if (a->wg == wg)
			return a;
	}
	return NULL;
}

/* Under the update lock of the device, which keeps its own entry, but not those on the
 * way to it: devices are destroyed, and lose their peers, without RTNL.
 */
static struct attached *find_own(const void *wg)
{
	struct attached *a;

	rcu_read_lock();
	a = find_attached(wg);
	rcu_read_unlock();
	return a;
}

struct wg_peer *wgvia_allowedips_lookup_dst(struct allowedips *allowedips,
					    struct sk_buff *skb)
{
	int verdict = WG_HOOK_PASS;
	struct wg_peer *peer = NULL;
	struct attached *a;

	rcu_read_lock();
	a = find_attached((char *)allowedips - WG_wg_device_peer_allowedips);
	if (a)
		verdict = a->hook->ops->select_peer(a->hook, a->dev, skb, &peer);
	rcu_read_unlock();
	if (verdict == WG_HOOK_PASS)
		return static_call(wg_allowedips_lookup_dst)(allowedips, skb);
	return peer;
}

/* The peer that sent the packet is that of its session, which the caller holds. The
 * caller wants a reference to this peer if the source is its own.
 */
struct wg_peer *wgvia_allowedips_lookup_src(struct allowedips *allowedips,
					    struct sk_buff *skb)
{
	int verdict = WG_HOOK_PASS;
	struct wg_peer *peer = NULL;
	struct attached *a;
	void *keypair;

	rcu_read_lock();
	a = find_attached((char *)allowedips - WG_wg_device_peer_allowedips);
	if (a) {
		keypair = WG_FIELD(void *, skb->cb, packet_cb, keypair);
		peer = WG_FIELD(struct wg_peer *,
				&WG_FIELD(char, keypair, noise_keypair, entry),
				index_hashtable_entry, peer);
		verdict = a->hook->ops->check_source(a->hook, a->dev, skb, peer);
	}
	rcu_read_unlock();
	if (verdict == WG_HOOK_PASS)
		return static_call(wg_allowedips_lookup_src)(allowedips, skb);
	return verdict == WG_HOOK_ACCEPT ? wg_hook_peer_get(peer) : NULL;
}

static const u8 *key_of(struct wg_peer *peer)
{
	return &WG_FIELD(u8, &WG_FIELD(char, peer, wg_peer, handshake),
			 noise_handshake, remote_static);
}

/* Attaching and detaching take the device's update lock too. */
void wgvia_stock_peer_added(struct wg_peer *peer)
{
	struct attached *a = find_own(WG_FIELD(void *, peer, wg_peer, device));

	if (a)
		a->hook->ops->peer_added(a->hook, a->dev, peer, key_of(peer));
}

void wgvia_stock_peer_removed(struct wg_peer *peer)
{
	struct attached *a = find_own(WG_FIELD(void *, peer, wg_peer, device));

	if (a)
		a->hook->ops->peer_removed(a->hook, a->dev, peer, key_of(peer));
}

bool wg_is_device(const struct net_device *dev)
{
	return within_module((unsigned long)dev->netdev_ops, wgvia_wireguard);
}

static struct mutex *update_lock(void *wg)
{
	return &WG_FIELD(struct mutex, wg, wg_device, device_update_lock);
}

int wg_hook_attach(struct net_device *dev, struct wg_hook *hook)
{
	void *wg = netdev_priv(dev);
	struct list_head *peers, *at;
	struct attached *a;

	ASSERT_RTNL();

	/* Not the layout that this was built for, whatever was checked */
	if (WARN_ON_ONCE(WG_FIELD(struct net_device *, wg, wg_device, dev) != dev))
		return -EINVAL;
	if (find_attached(wg))
		return -EBUSY;
	a = kzalloc_obj(*a);
	if (!a)
		return -ENOMEM;
	a->wg = wg;
	a->dev = dev;
	a->hook = hook;

	peers = &WG_FIELD(struct list_head, wg, wg_device, peer_list);
	mutex_lock(update_lock(wg));
	hlist_add_head_rcu(&a->node, &table[hash_ptr(wg, TABLE_BITS)]);
	list_for_each(at, peers)
		wgvia_stock_peer_added((void *)((char *)at - WG_wg_peer_peer_list));
	mutex_unlock(update_lock(wg));
	return 0;
}

void wg_hook_detach(struct net_device *dev)
{
	void *wg = netdev_priv(dev);
	struct attached *a;

	ASSERT_RTNL();

	a = find_attached(wg);
	if (WARN_ON_ONCE(!a))
		return;
	mutex_lock(update_lock(wg));
	hlist_del_rcu(&a->node);
	mutex_unlock(update_lock(wg));
	synchronize_net();
	kfree(a);
}

struct wg_peer *wg_hook_peer_by_key(struct net_device *dev, const u8 *key)
{
	struct pubkey_hashtable *peers =
		WG_FIELD(struct pubkey_hashtable *, netdev_priv(dev), wg_device,
			 peer_hashtable);

	return static_call(wg_pubkey_hashtable_lookup)(peers, key);
}

/* How many bits at the start of an address are those of a node */
static unsigned int common_bits(const void *node, const u8 *key, u8 bits)
{
	const u8 *own = &WG_FIELD(u8, node, allowedips_node, bits);

	if (bits == 32)
		return 32 - fls(*(const u32 *)own ^ *(const u32 *)key);
	if (*(const u64 *)own != *(const u64 *)key)
		return 64 - fls64(*(const u64 *)own ^ *(const u64 *)key);
	return 128 - fls64(*(const u64 *)(own + 8) ^ *(const u64 *)(key + 8));
}

struct wg_peer *wg_hook_peer_by_allowedips(struct net_device *dev,
					   sa_family_t family,
					   const void *addr, bool *exact)
{
	void *allowedips = (char *)netdev_priv(dev) + WG_wg_device_peer_allowedips;
	struct wg_peer *found = NULL;
	u8 key[16] __aligned(__alignof(u64));
	u8 bits;
	void *node;

	/* Its trie has addresses in words of the host's byte order. */
	if (family == AF_INET) {
		bits = 32;
		*(u32 *)key = get_unaligned_be32(addr);
		node = READ_ONCE(WG_FIELD(void *, allowedips, allowedips, root4));
	} else {
		bits = 128;
		((u64 *)key)[0] = get_unaligned_be64(addr);
		((u64 *)key)[1] = get_unaligned_be64((const u8 *)addr + 8);
		node = READ_ONCE(WG_FIELD(void *, allowedips, allowedips, root6));
	}

	while (node) {
		u8 cidr = WG_FIELD(u8, node, allowedips_node, cidr);
		struct wg_peer *peer;
		u8 bit;

		if (common_bits(node, key, bits) < cidr)
			break;
		peer = READ_ONCE(WG_FIELD(struct wg_peer *, node, allowedips_node, peer));
		if (peer) {
			found = peer;
			*exact = cidr == bits;
		}
		if (cidr == bits)
			break;
		bit = key[WG_FIELD(u8, node, allowedips_node, bit_at_a)] >>
		      WG_FIELD(u8, node, allowedips_node, bit_at_b) & 1;
		node = READ_ONCE((&WG_FIELD(void *, node, allowedips_node, bit))[bit]);
	}
	return found;
}

struct net_device *wg_hook_peer_dev(struct wg_peer *peer)
{
	void *wg = WG_FIELD(void *, peer, wg_peer, device);

	return WG_FIELD(struct net_device *, wg, wg_device, dev);
}

struct wg_peer *wg_hook_peer_get(struct wg_peer *peer)
{
	struct kref *refcount = &WG_FIELD(struct kref, peer, wg_peer, refcount);

	return kref_get_unless_zero(refcount) ? peer : NULL;
}

void wg_hook_peer_put(struct wg_peer *peer)
{
	static_call(wg_peer_put)(peer);
}

unsigned int wg_hook_peer_state(struct wg_peer *peer)
{
	void *endpoint = &WG_FIELD(char, peer, wg_peer, endpoint);
	void *keypairs = &WG_FIELD(char, peer, wg_peer, keypairs);
	unsigned int state = 0;
	sa_family_t family;
	void *keypair;

	family = READ_ONCE(WG_FIELD(struct sockaddr_in, endpoint, endpoint, addr4).sin_family);
	if (family == AF_INET || family == AF_INET6)
		state |= WG_HOOK_PEER_ENDPOINT;

	keypair = READ_ONCE(WG_FIELD(void *, keypairs, noise_keypairs, current_keypair));
	if (keypair) {
		void *sending = &WG_FIELD(char, keypair, noise_keypair, sending);
		atomic64_t *counter = &WG_FIELD(atomic64_t, keypair, noise_keypair,
						sending_counter);
		u64 born = WG_FIELD(u64, sending, noise_symmetric_key, birthdate);

		if (READ_ONCE(WG_FIELD(bool, sending, noise_symmetric_key, is_valid)) &&
		    (s64)(born + REJECT_AFTER_TIME * NSEC_PER_SEC) >
			    (s64)ktime_get_coarse_boottime_ns() &&
		    (u64)atomic64_read(counter) < REJECT_AFTER_MESSAGES)
			state |= WG_HOOK_PEER_SESSION;
	}
	return state;
}
