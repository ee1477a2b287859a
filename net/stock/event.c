// SPDX-License-Identifier: GPL-2.0
/*
 * Events of include/net/wireguard.h: a WireGuard without our patches tells nobody,
 * so the only function that is ever called is the one that says so.
 */

#include <linux/errno.h>
#include <linux/inet.h>
#include <linux/string.h>
#include <net/ipv6.h>
#include <net/wireguard.h>

int wg_event_register(const struct wg_event_ops *ops)
{
	return -EOPNOTSUPP;
}

void wg_event_unregister(void)
{
}

void wg_event_device_settings(const struct net_device *dev,
			      struct wg_device_settings *settings)
{
	memset(settings, 0, sizeof(*settings));
}

void wg_event_peer_endpoint(struct wg_peer *peer, struct sockaddr_inet *endpoint)
{
	memset(endpoint, 0, sizeof(*endpoint));
}

int wg_event_peer_allowedips(struct wg_peer *peer, void *data,
			     int (*fn)(void *data, int family, const u8 *ip,
				       u8 cidr))
{
	return 0;
}
