/* Faults on demand: what the test double has and FoundationDB does not. A
 * cluster is named by its description and ID, the text of its cluster file up
 * to the "@". Each call takes effect before whatever is asked of the cluster
 * after it. */
#ifndef CODITECT_FDB_DOUBLE_H
#define CODITECT_FDB_DOUBLE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether the cluster answers. What is asked meanwhile waits until it does again, or for its own end. */
void fdb_double_available(const char* cluster, int available);
/* How long each answer takes, in microseconds. */
void fdb_double_latency(const char* cluster, int64_t microseconds);
/* How long a read version may be used, in milliseconds: 5000. */
void fdb_double_window(const char* cluster, int64_t milliseconds);
/* Fail the next reads with code. */
void fdb_double_fail_reads(const char* cluster, int count, int code);
/* Fail the next commits with code, having taken effect or not; code 0 never answers. */
void fdb_double_fail_commits(const char* cluster, int count, int code, int committed);

#ifdef __cplusplus
}
#endif
#endif
