// The network thread: everything that happens in the double happens on it, one
// thing after another, in the order of the calls that asked for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "foundationdb/fdb_c.h"

using Clock = std::chrono::steady_clock;
using Bytes = std::string;

// The error codes that the double gives, as FoundationDB numbers them.
enum Code : fdb_error_t {
	too_old = 1007,
	future_version = 1009,
	not_committed = 1020,
	commit_unknown = 1021,
	cancelled = 1025,
	timed_out = 1031,
	unreadable = 1036,
	process_behind = 1037,
	database_locked = 1038,
	version_changed = 1039,
	proxy_memory = 1042,
	batch_throttled = 1051,
	grv_memory = 1078,
	operation_cancelled = 1101,
	tag_throttled = 1213,
	hot_shard = 1235,
	bind_failed = 1512,
	no_cluster_file = 1515,
	invalid_operation = 2000,
	illegal_key = 2004,
	inverted_range = 2005,
	invalid_option_value = 2006,
	invalid_option = 2007,
	network_not_setup = 2008,
	network_already_setup = 2009,
	no_commit_version = 2021,
	used_during_commit = 2017,
	invalid_mutation = 2018,
	too_large = 2101,
	key_too_large = 2102,
	value_too_large = 2103,
	bad_connection_string = 2104,
	unsupported = 2108,
	version_already_set = 2201,
	version_not_supported = 2203,
	exact_without_limit = 2210,
};

// Fail ends an operation with a code.
struct Fail {
	fdb_error_t code;
};

class Loop {
  public:
	void post(std::function<void()> task);
	void at(Clock::time_point when, std::function<void()> task);
	// run returns what ended it: 0 after stop, or the code given to die.
	fdb_error_t run();
	void stop();
	void die(fdb_error_t code);

  private:
	std::mutex mutex;
	std::condition_variable wake;
	std::deque<std::function<void()>> tasks;
	std::multimap<Clock::time_point, std::function<void()>> timers;
	bool stopped = false;
	fdb_error_t cause = 0;
};

Loop& loop();

// Promise is the double's side of a future. The result is written before it is
// ready, on the network thread, and read after.
struct Promise {
	fdb_error_t error = 0;
	bool present = false;
	Bytes bytes;
	int64_t number = 0;
	std::vector<std::pair<Bytes, Bytes>> rows;
	bool more = false;
	std::vector<FDBKeyValue> array; // what the caller sees of rows

	bool ready();
	void finish(fdb_error_t code); // at most the first call counts
	void on_ready(FDBFuture* handle, FDBCallback callback, void* argument);

  private:
	std::mutex mutex;
	bool done = false;
	FDBFuture* handle = nullptr;
	FDBCallback callback = nullptr;
	void* argument = nullptr;
};

struct FDB_future {
	std::shared_ptr<Promise> promise = std::make_shared<Promise>();
};
