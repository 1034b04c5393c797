// A cluster in memory: versions of every key, the ranges that commits wrote,
// and the faults that a test asked for.
#pragma once

#include <cstdint>
#include <optional>

#include "loop.h"

using Maybe = std::optional<Bytes>;

struct Range {
	Bytes begin, end;
};

constexpr size_t max_key = 10000, max_value = 100000;

// Atomic is an atomic operation that waits for the value below it.
struct Atomic {
	FDBMutationType type;
	Bytes parameter;
};

// applied returns what an atomic operation makes of a value; versionstamps are the commit's business.
Maybe applied(const Atomic& op, const Maybe& old);

// Write is what one transaction does to one key: sets or clears it (known), or
// applies operations to what it will find there.
struct Write {
	bool known = false;
	Maybe value;
	std::vector<Atomic> ops;
	bool stamped = false; // the value gets the commit's versionstamp, at the offset that ends it
};

// Writes is what one transaction does: cleared ranges, then the writes of keys on top.
struct Writes {
	std::map<Bytes, Write> keys;
	std::map<Bytes, Bytes> cleared; // disjoint, end by begin
	std::vector<std::pair<Bytes, Bytes>> stamped_keys;

	void set(const Bytes& key, Write write) { keys[key] = std::move(write); }
	void clear(const Bytes& begin, const Bytes& end);
	void atomic(const Bytes& key, const Atomic& op);
	bool clears(const Bytes& key) const;
	// unknown returns the parts of [begin, end) whose contents do not follow from these writes alone.
	std::vector<Range> unknown(const Bytes& begin, const Bytes& end) const;
	bool empty() const { return keys.empty() && cleared.empty() && stamped_keys.empty(); }
	size_t size() const;
};

class Cluster {
  public:
	// Faults.
	bool available = true;
	std::chrono::microseconds latency{0};
	int64_t window = 5000000; // versions that a read version may lag: microseconds
	int read_failures = 0;
	fdb_error_t read_code = 0;
	struct {
		int count = 0;
		fdb_error_t code = 0;
		bool committed = false;
	} commits_fail;

	// perform runs f once the cluster answers.
	void perform(std::function<void()> f);
	// deliver lets the promise have its result after the latency.
	void deliver(const std::shared_ptr<Promise>& promise, fdb_error_t code);
	void set_available(bool now);

	int64_t read_version();
	void check_age(int64_t version) const; // throws too_old
	Maybe get(const Bytes& key, int64_t version) const;
	// neighbours of a key among all that the cluster knows of, present at a version or not
	const Bytes* at_or_after(const Bytes& key) const;
	const Bytes* before(const Bytes& key) const;
	// commit applies the writes and returns their version, or throws.
	int64_t commit(int64_t version, const std::vector<Range>& read, const std::vector<Range>& wrote,
	               const Writes& writes);

	// Clusters by description and ID. They live as long as the process.
	static Cluster& named(const std::string& name);

  private:
	using History = std::vector<std::pair<int64_t, Maybe>>;
	struct Commit {
		int64_t version;
		std::vector<Range> wrote;
	};

	std::map<Bytes, History> rows;
	std::deque<Commit> commits;
	std::deque<std::pair<int64_t, Bytes>> touched; // for prune
	std::vector<std::function<void()>> parked;
	int64_t issued = 0;

	int64_t oldest() const;
	void put(const Bytes& key, Maybe value, int64_t version);
	void prune();
};
