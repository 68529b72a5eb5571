#include "listeners.h"

#include <errno.h>
#include <sys/socket.h>

#include "conn.h"
#include "loop.h"

static int listeners[LISTENERS_MAX];
static unsigned count;

/* While paused no listener is watched: a level-triggered loop would report them over and over. */
static bool paused;
static uint64_t ended_then; /* conn_ended() when the pause began */
static int64_t retry_at;    /* -1 when only a connection's end helps */

bool listeners_add(int fd)
{
	if (count == LISTENERS_MAX) {
		errno = EMFILE;
		return false;
	}
	if (!loop_watch(fd, LOOP_READ, LOOP_LISTENER + count))
		return false;
	listeners[count++] = fd;
	return true;
}

static void pause_until(int64_t when)
{
	for (unsigned i = 0; i < count; i++)
		loop_unwatch(listeners[i]);
	paused = true;
	ended_then = conn_ended();
	retry_at = when;
}

static void resume(void)
{
	paused = false;
	for (unsigned i = 0; i < count && !paused; i++) {
		if (!loop_watch(listeners[i], LOOP_READ, LOOP_LISTENER + i))
			pause_until(loop_now() + LISTENERS_RETRY_MS);
	}
}

/* Errors after which the next accept may well succeed: another program was faster, or the client has left. */
static bool passing(int error)
{
	switch (error) {
	case EAGAIN:
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTUNREACH:
		return true;
	default:
		return false;
	}
}

void listeners_accept(uint64_t token)
{
	/* wasi-libc's accept4 writes through both pointers without asking whether they are NULL. */
	struct sockaddr_storage address;
	socklen_t len = sizeof address;
	if (conn_full()) {
		pause_until(-1);
		return;
	}
	int fd = accept4(listeners[token - LOOP_LISTENER], (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0)
		conn_add(fd);
	else if (!passing(errno))
		pause_until(loop_now() + LISTENERS_RETRY_MS);
}

void listeners_stop(void)
{
	if (!paused)
		pause_until(-1);
	paused = false;
	count = 0;
}

int64_t listeners_tick(void)
{
	if (!paused)
		return -1;
	int64_t left = retry_at < 0 ? -1 : retry_at - loop_now();
	if (conn_ended() == ended_then && (retry_at < 0 || left > 0))
		return left;
	resume();
	return paused ? LISTENERS_RETRY_MS : -1;
}
