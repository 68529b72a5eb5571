/* conn.h — the connections: each reads, answers and writes by itself, over loop.h.
 *
 * A request costs one read and one write. A connection that is waiting costs its slot and nothing else: input
 * and output share one buffer among all, because the parser keeps no bytes, and only answers that the client
 * does not take are set aside, at most CONN_OUTPUT_MAX bytes each, during which nothing more is read from it.
 * There is no idle timeout: a full table ends only by clients leaving.
 */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stdint.h>

/* Connections at once. */
#ifndef CONN_MAX
#define CONN_MAX 4096
#endif

/* The most that one read takes. */
#define CONN_INPUT_MAX 8192

/* All the answers that one read can give rise to. */
#define CONN_OUTPUT_MAX 65536

/* After our last byte the client has this long to close its side; closing first could answer a late request
 * with a reset, which destroys answers that the client has not read yet. */
#define CONN_LINGER_MS 1000

/* When draining begins, a request may be on its way on any connection that seems idle; so they are left open
 * this much longer. Busy clients speak within it, and are answered "Connection: close". */
#define CONN_QUIET_MS 100

/* on_request, if not NULL, is called once for each request that is answered with 200. */
void conn_init(void (*on_request)(void));

/* Takes an accepted, non-blocking socket. The table must not be full. */
void conn_add(int fd);

/* Serves the connection in this slot, whatever it is ready for. */
void conn_ready(uint64_t slot);

/* Finishes: whole and begun requests are answered, the last with "Connection: close"; the rest is closed. */
void conn_drain(void);

/* Does what is due by now. Returns the milliseconds until something will be, -1 when nothing waits for time. */
int64_t conn_tick(void);

bool conn_full(void);
unsigned conn_count(void);

/* How many have ended since the start: a change means that there is room again. */
uint64_t conn_ended(void);

#endif
