/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A module may choose the peers of a WireGuard device in place of AllowedIPs.
 * To call any of these functions is to depend on wireguard.ko, which is so
 * pinned for as long as the caller is loaded.
 */

#ifndef _NET_WIREGUARD_H
#define _NET_WIREGUARD_H

#include <linux/socket.h>
#include <linux/types.h>

struct net_device;
struct sk_buff;
struct sockaddr_inet;
struct wg_hook;
struct wg_peer;

enum wg_hook_verdict {
	WG_HOOK_PASS,	/* AllowedIPs decide */
	WG_HOOK_ACCEPT,
	WG_HOOK_DROP,
};

enum wg_event {
	WG_EVENT_DEVICE_CHANGED	= 1,	/* port, key or fwmark set, or port chosen */
	WG_EVENT_PEER_ADDED	= 2,
	WG_EVENT_PEER_CHANGED	= 3,	/* its AllowedIPs have */
	WG_EVENT_PEER_REMOVED	= 4,
	WG_EVENT_SESSION	= 5,	/* began, was renewed or ended */
	WG_EVENT_ENDPOINT	= 6,	/* changed, once a second at most */
};

enum wg_hook_peer_state {
	WG_HOOK_PEER_ENDPOINT	= 1,	/* it is known where to send to */
	WG_HOOK_PEER_SESSION	= 2,	/* no handshake is needed first */
};

/**
 * struct wg_hook_ops - what decides for a device
 * @select_peer: Choose the peer that @skb, an IPv4 or IPv6 packet that @dev is
 *	to send, goes to. On WG_HOOK_ACCEPT *@peer is a strong reference,
 *	else it stays NULL. On WG_HOOK_DROP the sender gets -ENOKEY and an ICMP
 *	error.
 * @check_source: May @skb, decrypted and of valid length, come from @peer? On
 *	WG_HOOK_DROP it is dropped as one with a wrong source.
 * @peer_added: @dev has @peer, whose public key is @key (32 bytes). Called for
 *	each peer, from wg_hook_attach() or when the peer is created.
 * @peer_removed: @peer is going: wg_hook_peer_by_key() does not find it any
 *	more, and references to it are to be put.
 *
 * The first two return an enum wg_hook_verdict, and are called with BH disabled
 * and under RCU. The others are called under the device's update lock and may
 * sleep; RTNL is held or not, so they neither take it nor attach or detach.
 */
struct wg_hook_ops {
	int (*select_peer)(struct wg_hook *hook, struct net_device *dev,
			   struct sk_buff *skb, struct wg_peer **peer);
	int (*check_source)(struct wg_hook *hook, struct net_device *dev,
			    struct sk_buff *skb, struct wg_peer *peer);
	void (*peer_added)(struct wg_hook *hook, struct net_device *dev,
			   struct wg_peer *peer, const u8 *key);
	void (*peer_removed)(struct wg_hook *hook, struct net_device *dev,
			     struct wg_peer *peer, const u8 *key);
};

struct wg_hook {
	const struct wg_hook_ops *ops;
};

/**
 * struct wg_event_ops - what is told of all WireGuard devices
 * @event: Something happened, an enum wg_event, to @dev or to its @peer, whose
 *	public key is @key (32 bytes). Both are NULL for WG_EVENT_DEVICE_CHANGED.
 *
 * Called after the change, whose result the functions below and
 * wg_hook_peer_state() give, with BH disabled and under RCU. The device's update
 * lock is held unless the event is of a session or an endpoint, and RTNL for
 * WG_EVENT_DEVICE_CHANGED.
 */
struct wg_event_ops {
	void (*event)(unsigned int event, struct net_device *dev,
		      struct wg_peer *peer, const u8 *key);
};

struct wg_device_settings {
	u16 listen_port;
	u32 fwmark;
	bool has_key;
	u8 public_key[32];
};

bool wg_is_device(const struct net_device *dev);
int wg_hook_attach(struct net_device *dev, struct wg_hook *hook);
void wg_hook_detach(struct net_device *dev);

struct wg_peer *wg_hook_peer_by_key(struct net_device *dev, const u8 *key);
struct wg_peer *wg_hook_peer_by_allowedips(struct net_device *dev,
					   sa_family_t family,
					   const void *addr, bool *exact);
struct net_device *wg_hook_peer_dev(struct wg_peer *peer);
struct wg_peer *wg_hook_peer_get(struct wg_peer *peer);
void wg_hook_peer_put(struct wg_peer *peer);
unsigned int wg_hook_peer_state(struct wg_peer *peer);

int wg_event_register(const struct wg_event_ops *ops);
void wg_event_unregister(void);
void wg_event_device_settings(const struct net_device *dev,
			      struct wg_device_settings *settings);
void wg_event_peer_endpoint(struct wg_peer *peer, struct sockaddr_inet *endpoint);
int wg_event_peer_allowedips(struct wg_peer *peer, void *data,
			     int (*fn)(void *data, int family, const u8 *ip,
				       u8 cidr));

#endif /* _NET_WIREGUARD_H */
