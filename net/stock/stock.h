/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The way into a wireguard.ko without our patches, as Rust sees it (way_in.rs); the
 * rest of what it does is in net/wireguard.h.
 */

#ifndef _WGVIA_STOCK_H
#define _WGVIA_STOCK_H

#include <linux/types.h>
#include <linux/vmalloc.h>

/* An entry of WG_LAYOUT: the offset of a member, or without one the size of a
 * struct, in bytes
 */
struct wgvia_layout {
	const char *name;
	const char *member;
	u32 bytes;
};

extern const struct wgvia_layout wgvia_layouts[];
extern const size_t wgvia_layouts_len;

int wgvia_stock_pin(void);
void wgvia_stock_unpin(void);
int wgvia_stock_start(void);
void wgvia_stock_stop(void);
ssize_t wgvia_stock_read_btf(const char *path, void **data);
void wgvia_stock_set_encap_type(u16 type);

#endif /* _WGVIA_STOCK_H */
