/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The private parts of wireguard.ko: where its structs have their members, and its
 * functions. These are called by static calls, each a direct call, since IBT
 * forbids to call them by a pointer.
 */

#ifndef _WGVIA_STOCK_WIREGUARD_KO_H
#define _WGVIA_STOCK_WIREGUARD_KO_H

#include <linux/module.h>
#include <linux/static_call.h>
#include <linux/types.h>
#include <net/wireguard.h>

#include "layout.h"

struct allowedips;
struct pubkey_hashtable;

/* A member of a struct that is private to wireguard.ko */
#define WG_FIELD(type, ptr, struct, member) \
	(*(type *)((char *)(ptr) + WG_##struct##_##member))

extern struct module *wgvia_wireguard;

struct wg_peer *wgvia_wg_no_lookup(struct allowedips *table, struct sk_buff *skb);
void wgvia_wg_no_change(struct pubkey_hashtable *table, struct wg_peer *peer);
struct wg_peer *wgvia_wg_no_find(struct pubkey_hashtable *table, const u8 *key);
void wgvia_wg_no_put(struct wg_peer *peer);

DECLARE_STATIC_CALL(wg_allowedips_lookup_dst, wgvia_wg_no_lookup);
DECLARE_STATIC_CALL(wg_allowedips_lookup_src, wgvia_wg_no_lookup);
DECLARE_STATIC_CALL(wg_pubkey_hashtable_add, wgvia_wg_no_change);
DECLARE_STATIC_CALL(wg_pubkey_hashtable_remove, wgvia_wg_no_change);
DECLARE_STATIC_CALL(wg_pubkey_hashtable_lookup, wgvia_wg_no_find);
DECLARE_STATIC_CALL(wg_peer_put, wgvia_wg_no_put);

/* In the place of the functions of wireguard.ko with these names */
struct wg_peer *wgvia_allowedips_lookup_dst(struct allowedips *table,
					    struct sk_buff *skb);
struct wg_peer *wgvia_allowedips_lookup_src(struct allowedips *table,
					    struct sk_buff *skb);
void wgvia_pubkey_hashtable_add(struct pubkey_hashtable *table,
				struct wg_peer *peer);
void wgvia_pubkey_hashtable_remove(struct pubkey_hashtable *table,
				   struct wg_peer *peer);

/* Tell the hook of a peer. Under the device's update lock. */
void wgvia_stock_peer_added(struct wg_peer *peer);
void wgvia_stock_peer_removed(struct wg_peer *peer);

#endif /* _WGVIA_STOCK_WIREGUARD_KO_H */
