// The C functions. Each copies what it is given and leaves the rest to the
// network thread.
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <mutex>
#include <sstream>

#include "fdb_double.h"
#include "transaction.h"

struct FDB_database {
	Cluster* cluster;
	fdb_error_t broken;
	std::mutex mutex;
	std::map<int, int64_t> options; // defaults of its transactions
};

struct FDB_tenant {};

struct FDB_transaction {
	std::shared_ptr<Transaction> state;
};

namespace {

constexpr int newest_version = 730;

std::mutex process;
int api_version = 0;
bool network_ready = false;

Bytes copy(const uint8_t* data, int length) { return Bytes(reinterpret_cast<const char*>(data), length); }

// answer makes a future and has the network thread do the work that completes it.
template <class F>
FDBFuture* answer(FDBTransaction* tr, F work) {
	auto* future = new FDBFuture;
	loop().post([state = tr->state, promise = future->promise, work] { work(*state, promise); });
	return future;
}

FDBFuture* failed(fdb_error_t code) {
	auto* future = new FDBFuture;
	future->promise->finish(code);
	return future;
}

template <class F>
void change(FDBTransaction* tr, F work) {
	loop().post([state = tr->state, work] { state->change([&] { work(*state); }); });
}

std::string trim(const std::string& s) {
	const auto from = s.find_first_not_of(" \t\r\n"), to = s.find_last_not_of(" \t\r\n");
	return from == std::string::npos ? "" : s.substr(from, to - from + 1);
}

// connect makes sense of a connection string. A client none of whose
// coordinators has a name in DNS takes its network thread down.
fdb_error_t connect(const std::string& connection, Cluster** out) {
	const auto at = connection.find('@');
	if (at == std::string::npos || connection.find(':') > at || at + 1 == connection.size())
		return bad_connection_string;
	std::istringstream hosts(connection.substr(at + 1));
	bool resolves = false;
	for (std::string host; std::getline(hosts, host, ',');)
		resolves = resolves || host.find(".invalid:") == std::string::npos;
	if (!resolves)
		loop().die(bind_failed);
	*out = &Cluster::named(connection.substr(0, at));
	return 0;
}

void with_cluster(const char* name, std::function<void(Cluster&)> f) {
	loop().post([cluster = &Cluster::named(name), f = std::move(f)] { f(*cluster); });
}

fdb_error_t number(const uint8_t* value, int length, int64_t* out) {
	if (length != 8)
		return invalid_option_value;
	std::memcpy(out, value, 8);
	return *out < -1 ? invalid_option_value : 0;
}

} // namespace

extern "C" {

const char* fdb_get_error(fdb_error_t code) {
	switch (code) {
	case 0:
		return "Success";
	case too_old:
		return "Transaction is too old to perform reads or be committed";
	case not_committed:
		return "Transaction not committed due to conflict with another transaction";
	case commit_unknown:
		return "Transaction may or may not have committed";
	case cancelled:
		return "Operation aborted because the transaction was cancelled";
	case timed_out:
		return "Operation aborted because the transaction timed out";
	case no_cluster_file:
		return "No cluster file found in current directory or default location";
	case too_large:
		return "Transaction exceeds byte limit";
	case key_too_large:
		return "Key length exceeds limit";
	case value_too_large:
		return "Value length exceeds limit";
	case unsupported:
		return "Operation is not supported";
	default:
		return "An error of FoundationDB";
	}
}

fdb_error_t fdb_select_api_version_impl(int version, int header) {
	std::lock_guard<std::mutex> hold(process);
	if (api_version)
		return version_already_set;
	if (header > newest_version || version > header)
		return version_not_supported;
	api_version = version;
	return 0;
}

int fdb_get_max_api_version() { return newest_version; }

fdb_error_t fdb_network_set_option(FDBNetworkOption option, const uint8_t* value, int length) {
	struct stat found;
	if (option == FDB_NET_OPTION_EXTERNAL_CLIENT_DIRECTORY && stat(copy(value, length).c_str(), &found) != 0)
		return invalid_option_value;
	return 0; // the double has no use for any
}

fdb_error_t fdb_setup_network() {
	std::lock_guard<std::mutex> hold(process);
	if (network_ready)
		return network_already_setup;
	network_ready = true;
	return 0;
}

fdb_error_t fdb_run_network() { return loop().run(); }

fdb_error_t fdb_stop_network() {
	loop().stop();
	return 0;
}

void fdb_future_cancel(FDBFuture* f) {
	loop().post([promise = f->promise] { promise->finish(operation_cancelled); });
}

void fdb_future_release_memory(FDBFuture*) {} // goes with the future

void fdb_future_destroy(FDBFuture* f) { delete f; }

fdb_bool_t fdb_future_is_ready(FDBFuture* f) { return f->promise->ready(); }

fdb_error_t fdb_future_set_callback(FDBFuture* f, FDBCallback callback, void* argument) {
	auto promise = f->promise; // the callback may destroy f
	promise->on_ready(f, callback, argument);
	return 0;
}

fdb_error_t fdb_future_get_error(FDBFuture* f) { return f->promise->error; }

fdb_error_t fdb_future_get_int64(FDBFuture* f, int64_t* out) {
	*out = f->promise->number;
	return f->promise->error;
}

fdb_error_t fdb_future_get_key(FDBFuture* f, const uint8_t** out, int* length) {
	*out = reinterpret_cast<const uint8_t*>(f->promise->bytes.data());
	*length = static_cast<int>(f->promise->bytes.size());
	return f->promise->error;
}

fdb_error_t fdb_future_get_value(FDBFuture* f, fdb_bool_t* present, const uint8_t** out, int* length) {
	*present = f->promise->present;
	return fdb_future_get_key(f, out, length);
}

fdb_error_t fdb_future_get_keyvalue_array(FDBFuture* f, const FDBKeyValue** out, int* count, fdb_bool_t* more) {
	Promise& p = *f->promise;
	p.array.clear();
	for (const auto& [key, value] : p.rows)
		p.array.push_back({reinterpret_cast<const uint8_t*>(key.data()), static_cast<int>(key.size()),
		                   reinterpret_cast<const uint8_t*>(value.data()), static_cast<int>(value.size())});
	*out = p.array.data();
	*count = static_cast<int>(p.array.size());
	*more = p.more;
	return p.error;
}

fdb_error_t fdb_future_get_key_array(FDBFuture*, const FDBKey**, int*) { return unsupported; }
fdb_error_t fdb_future_get_string_array(FDBFuture*, const char***, int*) { return unsupported; }

fdb_error_t fdb_create_database_from_connection_string(const char* connection, FDBDatabase** out) {
	Cluster* cluster = nullptr;
	if (fdb_error_t code = connect(trim(connection), &cluster))
		return code;
	*out = new FDBDatabase{cluster, 0, {}, {}};
	return 0;
}

fdb_error_t fdb_create_database(const char* path, FDBDatabase** out) {
	{
		std::lock_guard<std::mutex> hold(process);
		if (!network_ready)
			return network_not_setup;
	}
	std::ifstream file(path ? path : "/etc/foundationdb/fdb.cluster");
	std::string connection;
	for (std::string line; std::getline(file, line);)
		if (line = trim(line); !line.empty() && line[0] != '#')
			connection += line;
	auto* db = new FDBDatabase{nullptr, 0, {}, {}};
	// Like the real one: the first transaction tells.
	db->broken = connection.empty() ? no_cluster_file : connect(connection, &db->cluster);
	*out = db;
	return 0;
}

void fdb_database_destroy(FDBDatabase* db) { delete db; }

fdb_error_t fdb_database_set_option(FDBDatabase* db, FDBDatabaseOption option, const uint8_t* value, int length) {
	std::lock_guard<std::mutex> hold(db->mutex);
	return number(value, length, &db->options[option]); // those of transactions have the same numbers here and there
}

fdb_error_t fdb_database_create_transaction(FDBDatabase* db, FDBTransaction** out) {
	std::lock_guard<std::mutex> hold(db->mutex);
	*out = new FDBTransaction{std::make_shared<Transaction>(db->cluster, db->broken)};
	for (const auto& [option, value] : db->options)
		loop().post([state = (*out)->state, option = option, value = value] { state->set_option(option, value); });
	return 0;
}

FDBFuture* fdb_database_reboot_worker(FDBDatabase*, const uint8_t*, int, fdb_bool_t, int) { return failed(unsupported); }
FDBFuture* fdb_database_get_client_status(FDBDatabase*) { return failed(unsupported); }
fdb_error_t fdb_database_open_tenant(FDBDatabase*, const uint8_t*, int, FDBTenant**) { return unsupported; }
fdb_error_t fdb_tenant_create_transaction(FDBTenant*, FDBTransaction**) { return unsupported; }
void fdb_tenant_destroy(FDBTenant*) {}

void fdb_transaction_destroy(FDBTransaction* tr) { delete tr; }

void fdb_transaction_cancel(FDBTransaction* tr) {
	loop().post([state = tr->state] { state->cancel(); });
}

void fdb_transaction_reset(FDBTransaction* tr) {
	loop().post([state = tr->state] { state->reset(); });
}

fdb_error_t fdb_transaction_set_option(FDBTransaction* tr, FDBTransactionOption option, const uint8_t* value, int length) {
	if (option < 500)
		return 0; // priorities and the like; nothing here depends on them
	if (option > 503)
		return invalid_option;
	int64_t n = 0;
	if (fdb_error_t code = number(value, length, &n))
		return code;
	loop().post([state = tr->state, option, n] { state->set_option(option, n); });
	return 0;
}

void fdb_transaction_set_read_version(FDBTransaction* tr, int64_t version) {
	change(tr, [version](Transaction& t) { t.use_version(version); });
}

FDBFuture* fdb_transaction_get_read_version(FDBTransaction* tr) {
	return answer(tr, [](Transaction& t, auto& promise) {
		t.ask(promise, [&t](Promise& p) { p.number = t.version(); });
	});
}

FDBFuture* fdb_transaction_get(FDBTransaction* tr, const uint8_t* key, int length, fdb_bool_t snapshot) {
	return answer(tr, [key = copy(key, length), snapshot](Transaction& t, auto& promise) {
		t.ask(promise, [&t, key, snapshot](Promise& p) { t.get(key, snapshot, p); });
	});
}

FDBFuture* fdb_transaction_get_key(FDBTransaction* tr, const uint8_t* key, int length, fdb_bool_t or_equal, int offset,
                                   fdb_bool_t snapshot) {
	return answer(tr, [s = Selector{copy(key, length), or_equal != 0, offset}, snapshot](Transaction& t, auto& promise) {
		t.ask(promise, [&t, s, snapshot](Promise& p) { t.get_key(s, snapshot, p); });
	});
}

FDBFuture* fdb_transaction_get_range(FDBTransaction* tr, const uint8_t* begin, int begin_length, fdb_bool_t begin_or_equal,
                                     int begin_offset, const uint8_t* end, int end_length, fdb_bool_t end_or_equal,
                                     int end_offset, int limit, int target_bytes, FDBStreamingMode mode, int iteration,
                                     fdb_bool_t snapshot, fdb_bool_t reverse) {
	static const size_t targets[] = {0, 256, 1000, 4096, 120000}; // by mode, from exact to serial
	static const size_t iterations[] = {4096, 6144, 9216, 13824, 20736, 31104, 46656, 69984, 80000, 120000};
	size_t bytes;
	if (mode == FDB_STREAMING_MODE_EXACT && limit <= 0)
		return failed(exact_without_limit);
	if (mode == FDB_STREAMING_MODE_WANT_ALL)
		mode = FDB_STREAMING_MODE_SERIAL;
	if (mode == FDB_STREAMING_MODE_ITERATOR && iteration > 0)
		bytes = iterations[std::min(iteration, 10) - 1];
	else if (mode >= 0 && mode <= FDB_STREAMING_MODE_SERIAL)
		bytes = targets[mode];
	else
		return failed(invalid_operation);
	if (target_bytes > 0)
		bytes = bytes ? std::min(bytes, static_cast<size_t>(target_bytes)) : target_bytes;
	const RangeRead read{{copy(begin, begin_length), begin_or_equal != 0, begin_offset},
	                     {copy(end, end_length), end_or_equal != 0, end_offset},
	                     limit, bytes, snapshot != 0, reverse != 0};
	return answer(tr, [read](Transaction& t, auto& promise) {
		t.ask(promise, [&t, read](Promise& p) { t.get_range(read, p); });
	});
}

FDBFuture* fdb_transaction_get_estimated_range_size_bytes(FDBTransaction*, const uint8_t*, int, const uint8_t*, int) {
	return failed(unsupported);
}
FDBFuture* fdb_transaction_get_range_split_points(FDBTransaction*, const uint8_t*, int, const uint8_t*, int, int64_t) {
	return failed(unsupported);
}
FDBFuture* fdb_transaction_get_addresses_for_key(FDBTransaction*, const uint8_t*, int) { return failed(unsupported); }
FDBFuture* fdb_transaction_watch(FDBTransaction*, const uint8_t*, int) { return failed(unsupported); }

FDBFuture* fdb_transaction_get_approximate_size(FDBTransaction* tr) {
	return answer(tr, [](Transaction& t, auto& promise) {
		t.ask(promise, [&t](Promise& p) { p.number = static_cast<int64_t>(t.size()); });
	});
}

FDBFuture* fdb_transaction_get_versionstamp(FDBTransaction* tr) {
	return answer(tr, [](Transaction& t, auto& promise) { t.versionstamp(promise); });
}

void fdb_transaction_set(FDBTransaction* tr, const uint8_t* key, int key_length, const uint8_t* value, int value_length) {
	change(tr, [key = copy(key, key_length), value = copy(value, value_length)](Transaction& t) { t.set(key, value); });
}

void fdb_transaction_clear(FDBTransaction* tr, const uint8_t* key, int length) {
	change(tr, [key = copy(key, length)](Transaction& t) { t.clear(key, key + '\0'); });
}

void fdb_transaction_clear_range(FDBTransaction* tr, const uint8_t* begin, int begin_length, const uint8_t* end,
                                 int end_length) {
	change(tr, [begin = copy(begin, begin_length), end = copy(end, end_length)](Transaction& t) { t.clear(begin, end); });
}

void fdb_transaction_atomic_op(FDBTransaction* tr, const uint8_t* key, int key_length, const uint8_t* parameter,
                               int parameter_length, FDBMutationType type) {
	change(tr, [key = copy(key, key_length), parameter = copy(parameter, parameter_length), type](Transaction& t) {
		t.atomic(key, parameter, type);
	});
}

fdb_error_t fdb_transaction_add_conflict_range(FDBTransaction* tr, const uint8_t* begin, int begin_length,
                                               const uint8_t* end, int end_length, FDBConflictRangeType type) {
	change(tr, [begin = copy(begin, begin_length), end = copy(end, end_length), type](Transaction& t) {
		t.conflict(begin, end, type == FDB_CONFLICT_RANGE_TYPE_WRITE);
	});
	return 0;
}

FDBFuture* fdb_transaction_commit(FDBTransaction* tr) {
	return answer(tr, [](Transaction& t, auto& promise) { t.commit(promise); });
}

FDBFuture* fdb_transaction_on_error(FDBTransaction* tr, fdb_error_t code) {
	return answer(tr, [code](Transaction& t, auto& promise) { t.on_error(promise, code); });
}

fdb_error_t fdb_transaction_get_committed_version(FDBTransaction* tr, int64_t* out) {
	*out = tr->state->committed_version;
	return 0;
}

// Faults on demand.

void fdb_double_available(const char* cluster, int available) {
	with_cluster(cluster, [available](Cluster& c) { c.set_available(available != 0); });
}

void fdb_double_latency(const char* cluster, int64_t microseconds) {
	with_cluster(cluster, [microseconds](Cluster& c) { c.latency = std::chrono::microseconds(microseconds); });
}

void fdb_double_window(const char* cluster, int64_t milliseconds) {
	with_cluster(cluster, [milliseconds](Cluster& c) { c.window = milliseconds * 1000; });
}

void fdb_double_fail_reads(const char* cluster, int count, int code) {
	with_cluster(cluster, [count, code](Cluster& c) {
		c.read_failures = count;
		c.read_code = code;
	});
}

void fdb_double_fail_commits(const char* cluster, int count, int code, int committed) {
	with_cluster(cluster, [count, code, committed](Cluster& c) {
		c.commits_fail.count = count;
		c.commits_fail.code = code;
		c.commits_fail.committed = committed != 0;
	});
}

} // extern "C"
