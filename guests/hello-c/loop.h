/* loop.h — what the server asks of an event loop.
 *
 * conn.c and listeners.c are written over these five functions, and each program defines them: serve.c over
 * wcluster_watch, poll-c over poll(2), bench/peers/native-c over epoll. Readiness is level-triggered: what was
 * not read is reported again.
 */
#ifndef LOOP_H
#define LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* What to wait for. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };

/* A token says what became ready: below LOOP_LISTENER a connection's slot, from it on a listener's index, and
 * from LOOP_OWN on something of the loop's own. */
enum { LOOP_LISTENER = 1 << 16, LOOP_OWN = 1 << 17 };

/* Waits for interest from now on, instead of what it waited for before. */
bool loop_watch(int fd, unsigned interest, uint64_t token);

/* Waits for nothing on fd, which stays open. */
void loop_unwatch(int fd);

/* Closes fd and forgets it. */
void loop_close(int fd);

/* A clock in milliseconds that never goes back. */
int64_t loop_now(void);

/* The sooner of two waits in milliseconds, where a negative one is for ever. */
static inline int64_t loop_sooner(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

#endif
