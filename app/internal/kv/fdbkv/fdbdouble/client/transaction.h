// A transaction: its snapshot, its own writes on top, what its commit depends
// on, and its own end by timeout or cancel.
#pragma once

#include <atomic>
#include <random>

#include "cluster.h"

struct Selector {
	Bytes key;
	bool or_equal;
	int offset;
};

struct RangeRead {
	Selector begin, end;
	int limit;
	size_t bytes; // 0 is no target
	bool snapshot, reverse;
};

class Transaction : public std::enable_shared_from_this<Transaction> {
  public:
	// A transaction of no cluster fails whatever is asked of it with the code.
	Transaction(Cluster* cluster, fdb_error_t broken) : cluster(cluster), broken(broken) {}

	std::atomic<int64_t> committed_version{-1};

	// What the network thread calls. ask runs body for the promise once the
	// cluster answers, unless the transaction has ended; body throws Fail.
	void ask(const std::shared_ptr<Promise>& promise, std::function<void(Promise&)> body);
	void change(const std::function<void()>& body); // a write: what it throws fails the commit
	void commit(const std::shared_ptr<Promise>& promise);
	void on_error(const std::shared_ptr<Promise>& promise, fdb_error_t code);
	void versionstamp(const std::shared_ptr<Promise>& promise);
	void set_option(int option, int64_t value);
	void cancel();
	void reset();

	// Bodies of ask.
	int64_t version();
	void get(const Bytes& key, bool snapshot, Promise& out);
	void get_key(const Selector& selector, bool snapshot, Promise& out);
	void get_range(const RangeRead& read, Promise& out);

	// Bodies of change.
	void set(const Bytes& key, const Bytes& value);
	void clear(const Bytes& begin, const Bytes& end);
	void atomic(const Bytes& key, const Bytes& parameter, FDBMutationType type);
	void conflict(const Bytes& begin, const Bytes& end, bool write);
	void use_version(int64_t version) { read_version = version; }

	size_t size() const;

  private:
	Cluster* cluster;
	fdb_error_t broken;

	Clock::time_point created = Clock::now();
	int64_t timeout = 0, retry_limit = -1, max_delay = 1000, size_limit = 10000000;
	int timers = 0; // set so far; only the latest counts
	int retries = 0;
	double backoff = 0.01;
	fdb_error_t ended = 0; // by cancel or timeout
	bool committing = false;

	int64_t read_version = -1;
	fdb_error_t deferred = 0;
	Writes writes;
	std::vector<Range> read, wrote;
	std::vector<std::shared_ptr<Promise>> pending, stamps;

	fdb_error_t refusal() const;
	void track(const std::shared_ptr<Promise>& promise);
	void settle(const std::shared_ptr<Promise>& promise);
	void fail_pending(fdb_error_t code);
	void forget();
	void end(fdb_error_t code);
	Maybe value(const Bytes& key);
	std::optional<std::pair<Bytes, Bytes>> next(Bytes from, const Bytes& end);
	std::optional<std::pair<Bytes, Bytes>> previous(Bytes before, const Bytes& begin);
	Bytes resolve(const Selector& selector, bool snapshot);
	void depend(const Bytes& begin, const Bytes& end);
};
