/*
 * The part of FoundationDB's C interface that its Go binding compiles against,
 * declared anew for the test double in ../../client. It declares; it promises
 * nothing. Builds for production use the header that the client library brings.
 */
#ifndef CODITECT_FDB_C_H
#define CODITECT_FDB_C_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int fdb_error_t;
typedef int fdb_bool_t;

typedef struct FDB_future FDBFuture;
typedef struct FDB_database FDBDatabase;
typedef struct FDB_tenant FDBTenant;
typedef struct FDB_transaction FDBTransaction;

/* The binding reads arrays of these by their offsets: 12 and 24 bytes each. */
#pragma pack(push, 4)
typedef struct FDB_key {
	const uint8_t* key;
	int key_length;
} FDBKey;
typedef struct FDB_key_value {
	const uint8_t* key;
	int key_length;
	const uint8_t* value;
	int value_length;
} FDBKeyValue;
#pragma pack(pop)

typedef enum { FDB_NET_OPTION_EXTERNAL_CLIENT_DIRECTORY = 63 } FDBNetworkOption;
typedef enum { FDB_DB_OPTION_TRANSACTION_TIMEOUT = 500 } FDBDatabaseOption;

typedef enum {
	FDB_TR_OPTION_PRIORITY_BATCH = 201,
	FDB_TR_OPTION_TIMEOUT = 500,
	FDB_TR_OPTION_RETRY_LIMIT = 501,
	FDB_TR_OPTION_MAX_RETRY_DELAY = 502,
	FDB_TR_OPTION_SIZE_LIMIT = 503
} FDBTransactionOption;

typedef enum {
	FDB_STREAMING_MODE_WANT_ALL = -2,
	FDB_STREAMING_MODE_ITERATOR = -1,
	FDB_STREAMING_MODE_EXACT = 0,
	FDB_STREAMING_MODE_SMALL = 1,
	FDB_STREAMING_MODE_MEDIUM = 2,
	FDB_STREAMING_MODE_LARGE = 3,
	FDB_STREAMING_MODE_SERIAL = 4
} FDBStreamingMode;

typedef enum {
	FDB_MUTATION_TYPE_ADD = 2,
	FDB_MUTATION_TYPE_BIT_AND = 6,
	FDB_MUTATION_TYPE_BIT_OR = 7,
	FDB_MUTATION_TYPE_BIT_XOR = 8,
	FDB_MUTATION_TYPE_APPEND_IF_FITS = 9,
	FDB_MUTATION_TYPE_MAX = 12,
	FDB_MUTATION_TYPE_MIN = 13,
	FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY = 14,
	FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_VALUE = 15,
	FDB_MUTATION_TYPE_BYTE_MIN = 16,
	FDB_MUTATION_TYPE_BYTE_MAX = 17,
	FDB_MUTATION_TYPE_COMPARE_AND_CLEAR = 20
} FDBMutationType;

typedef enum { FDB_CONFLICT_RANGE_TYPE_READ = 0, FDB_CONFLICT_RANGE_TYPE_WRITE = 1 } FDBConflictRangeType;

typedef void (*FDBCallback)(FDBFuture*, void*);

/* The process: version, network thread. */
const char* fdb_get_error(fdb_error_t code);
fdb_error_t fdb_select_api_version_impl(int version, int header_version);
int fdb_get_max_api_version(void);
fdb_error_t fdb_network_set_option(FDBNetworkOption, const uint8_t* value, int length);
fdb_error_t fdb_setup_network(void);
fdb_error_t fdb_run_network(void);
fdb_error_t fdb_stop_network(void);

/* Futures. */
void fdb_future_cancel(FDBFuture*);
void fdb_future_release_memory(FDBFuture*);
void fdb_future_destroy(FDBFuture*);
fdb_bool_t fdb_future_is_ready(FDBFuture*);
fdb_error_t fdb_future_set_callback(FDBFuture*, FDBCallback, void* argument);
fdb_error_t fdb_future_get_error(FDBFuture*);
fdb_error_t fdb_future_get_int64(FDBFuture*, int64_t* out);
fdb_error_t fdb_future_get_key(FDBFuture*, const uint8_t** out, int* length);
fdb_error_t fdb_future_get_value(FDBFuture*, fdb_bool_t* present, const uint8_t** out, int* length);
fdb_error_t fdb_future_get_keyvalue_array(FDBFuture*, const FDBKeyValue** out, int* count, fdb_bool_t* more);
fdb_error_t fdb_future_get_key_array(FDBFuture*, const FDBKey** out, int* count);
fdb_error_t fdb_future_get_string_array(FDBFuture*, const char*** out, int* count);

/* Databases and tenants. */
fdb_error_t fdb_create_database(const char* cluster_file, FDBDatabase** out);
fdb_error_t fdb_create_database_from_connection_string(const char* connection, FDBDatabase** out);
void fdb_database_destroy(FDBDatabase*);
fdb_error_t fdb_database_set_option(FDBDatabase*, FDBDatabaseOption, const uint8_t* value, int length);
fdb_error_t fdb_database_create_transaction(FDBDatabase*, FDBTransaction** out);
FDBFuture* fdb_database_reboot_worker(FDBDatabase*, const uint8_t* address, int length, fdb_bool_t check, int seconds);
FDBFuture* fdb_database_get_client_status(FDBDatabase*);
fdb_error_t fdb_database_open_tenant(FDBDatabase*, const uint8_t* name, int length, FDBTenant** out);
fdb_error_t fdb_tenant_create_transaction(FDBTenant*, FDBTransaction** out);
void fdb_tenant_destroy(FDBTenant*);

/* Transactions. */
void fdb_transaction_destroy(FDBTransaction*);
void fdb_transaction_cancel(FDBTransaction*);
void fdb_transaction_reset(FDBTransaction*);
fdb_error_t fdb_transaction_set_option(FDBTransaction*, FDBTransactionOption, const uint8_t* value, int length);
void fdb_transaction_set_read_version(FDBTransaction*, int64_t version);
FDBFuture* fdb_transaction_get_read_version(FDBTransaction*);
FDBFuture* fdb_transaction_get(FDBTransaction*, const uint8_t* key, int key_length, fdb_bool_t snapshot);
FDBFuture* fdb_transaction_get_key(FDBTransaction*, const uint8_t* key, int key_length, fdb_bool_t or_equal, int offset,
                                   fdb_bool_t snapshot);
FDBFuture* fdb_transaction_get_range(FDBTransaction*, const uint8_t* begin, int begin_length, fdb_bool_t begin_or_equal,
                                     int begin_offset, const uint8_t* end, int end_length, fdb_bool_t end_or_equal,
                                     int end_offset, int limit, int target_bytes, FDBStreamingMode, int iteration,
                                     fdb_bool_t snapshot, fdb_bool_t reverse);
FDBFuture* fdb_transaction_get_estimated_range_size_bytes(FDBTransaction*, const uint8_t* begin, int begin_length,
                                                          const uint8_t* end, int end_length);
FDBFuture* fdb_transaction_get_range_split_points(FDBTransaction*, const uint8_t* begin, int begin_length,
                                                  const uint8_t* end, int end_length, int64_t chunk);
FDBFuture* fdb_transaction_get_addresses_for_key(FDBTransaction*, const uint8_t* key, int key_length);
FDBFuture* fdb_transaction_get_approximate_size(FDBTransaction*);
FDBFuture* fdb_transaction_get_versionstamp(FDBTransaction*);
FDBFuture* fdb_transaction_watch(FDBTransaction*, const uint8_t* key, int key_length);
void fdb_transaction_set(FDBTransaction*, const uint8_t* key, int key_length, const uint8_t* value, int value_length);
void fdb_transaction_clear(FDBTransaction*, const uint8_t* key, int key_length);
void fdb_transaction_clear_range(FDBTransaction*, const uint8_t* begin, int begin_length, const uint8_t* end,
                                 int end_length);
void fdb_transaction_atomic_op(FDBTransaction*, const uint8_t* key, int key_length, const uint8_t* parameter,
                               int parameter_length, FDBMutationType);
fdb_error_t fdb_transaction_add_conflict_range(FDBTransaction*, const uint8_t* begin, int begin_length,
                                               const uint8_t* end, int end_length, FDBConflictRangeType);
FDBFuture* fdb_transaction_commit(FDBTransaction*);
FDBFuture* fdb_transaction_on_error(FDBTransaction*, fdb_error_t code);
fdb_error_t fdb_transaction_get_committed_version(FDBTransaction*, int64_t* out);

#ifdef __cplusplus
}
#endif
#endif
