#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../sdk/c/wcluster.h"
#include "conn.h"
#include "inbox.h"
#include "listeners.h"
#include "loop.h"
#include "response.h"

/* Ready descriptors taken at once. */
#define EVENTS_MAX 256

/* Connections that may wait in the kernel while all workers are busy. */
#define BACKLOG 1024

/* Preopened sockets begin here. */
#define FIRST_PREOPENED 3

/* loop.h over wcluster_watch. */

bool loop_watch(int fd, unsigned interest, uint64_t token)
{
	_Static_assert(LOOP_READ == WCLUSTER_READ && LOOP_WRITE == WCLUSTER_WRITE, "the same bits");
	errno = wcluster_watch(fd, interest, token);
	return errno == 0;
}

void loop_unwatch(int fd)
{
	wcluster_watch(fd, 0, 0);
}

void loop_close(int fd)
{
	close(fd); /* the host forgets the watch with the descriptor */
}

int64_t loop_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Listening. */

static bool take_preopened(int n)
{
	for (int fd = FIRST_PREOPENED; fd < FIRST_PREOPENED + n; fd++) {
		fcntl(fd, F_SETFL, O_NONBLOCK); /* they come blocking, for programs that call nothing but accept */
		if (!listeners_add(fd))
			return false;
	}
	return true;
}

static bool listen_on(const char *spec)
{
	int32_t fd;
	errno = wcluster_listen(spec, (uint32_t)strlen(spec), BACKLOG, 0, &fd);
	return errno == 0 && listeners_add(fd);
}

static bool open_listeners(const char *spec)
{
	const char *n = getenv("LISTEN_FDS");
	return n != NULL && atoi(n) > 0 ? take_preopened(atoi(n)) : listen_on(spec);
}

/* The loop. */

static bool finishing;

static void inbox_ready(uint32_t ready, const serve_hooks *hooks)
{
	if (ready & WCLUSTER_WRITE && hooks->outbox_room != NULL)
		hooks->outbox_room();
	if (inbox_take() && !finishing) {
		finishing = true;
		listeners_stop();
		conn_drain();
	}
}

/* Accepts before anything else: a connection that waits was announced to this worker alone. */
static void deliver(const wcluster_event *events, uint32_t n, const serve_hooks *hooks)
{
	for (uint32_t i = 0; i < n; i++) {
		if (events[i].token >= LOOP_LISTENER && events[i].token < LOOP_OWN)
			listeners_accept(events[i].token);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (events[i].token < LOOP_LISTENER)
			conn_ready(events[i].token);
		else if (events[i].token == INBOX_TOKEN)
			inbox_ready(events[i].ready, hooks);
	}
}

static bool finished(const serve_hooks *hooks)
{
	return finishing && conn_count() == 0 && (hooks->settled == NULL || hooks->settled());
}

static int loop(const serve_hooks *hooks)
{
	static wcluster_event events[EVENTS_MAX];
	for (;;) {
		int64_t ms = loop_sooner(conn_tick(), listeners_tick());
		if (finished(hooks))
			return 0;
		uint32_t n = 0;
		errno = wcluster_wait(events, EVENTS_MAX, ms < 0 ? -1 : ms * 1000000, &n);
		if (errno != 0) {
			perror("wait");
			return 1;
		}
		deliver(events, n, hooks);
	}
}

int serve(const char *spec, const serve_hooks *hooks)
{
	response_init(wcluster_worker_id());
	conn_init(hooks->request);
	if (!inbox_open()) {
		perror("inbox");
		return 1;
	}
	if (!open_listeners(spec)) {
		perror(spec);
		return 1;
	}
	return loop(hooks);
}
