#include "transaction.h"

#include <algorithm>

namespace {

const Bytes last_key = "\xff";

Bytes next_key(const Bytes& key) { return key + '\0'; }

bool retryable(fdb_error_t code) {
	switch (code) {
	case too_old:
	case future_version:
	case not_committed:
	case commit_unknown:
	case process_behind:
	case database_locked:
	case version_changed:
	case proxy_memory:
	case batch_throttled:
	case grv_memory:
	case tag_throttled:
	case hot_shard:
		return true;
	default:
		return false;
	}
}

double random_part() {
	static std::mt19937 engine{std::random_device{}()};
	return std::uniform_real_distribution<double>(0, 1)(engine);
}

void check_read_key(const Bytes& key) {
	if (key > last_key)
		throw Fail{illegal_key};
}

void check_written_key(const Bytes& key) {
	if (key.size() > max_key)
		throw Fail{key_too_large};
	if (key >= last_key)
		throw Fail{illegal_key};
}

} // namespace

fdb_error_t Transaction::refusal() const {
	if (broken)
		return broken;
	if (ended)
		return ended;
	if (committing)
		return used_during_commit;
	return deferred;
}

void Transaction::track(const std::shared_ptr<Promise>& promise) {
	pending.erase(std::remove_if(pending.begin(), pending.end(), [](auto& p) { return p->ready(); }), pending.end());
	pending.push_back(promise);
}

void Transaction::fail_pending(fdb_error_t code) {
	std::vector<std::shared_ptr<Promise>> all;
	all.swap(pending);
	for (auto& promise : all)
		promise->finish(code);
}

void Transaction::ask(const std::shared_ptr<Promise>& promise, std::function<void(Promise&)> body) {
	if (fdb_error_t code = refusal())
		return promise->finish(code);
	track(promise);
	cluster->perform([self = shared_from_this(), promise, body = std::move(body)] {
		if (promise->ready())
			return; // it did not wait for the cluster
		fdb_error_t code = 0;
		try {
			if (self->cluster->read_failures > 0) {
				self->cluster->read_failures--;
				throw Fail{self->cluster->read_code};
			}
			body(*promise);
		} catch (const Fail& fail) {
			code = fail.code;
		}
		self->cluster->deliver(promise, code);
	});
}

void Transaction::change(const std::function<void()>& body) {
	if (fdb_error_t code = refusal()) {
		if (!deferred)
			deferred = code;
		return;
	}
	try {
		body();
	} catch (const Fail& fail) {
		deferred = fail.code;
	}
}

int64_t Transaction::version() {
	if (read_version < 0)
		read_version = cluster->read_version();
	return read_version;
}

// value is that of key as the transaction sees it.
Maybe Transaction::value(const Bytes& key) {
	auto own = writes.keys.find(key);
	if (own == writes.keys.end())
		return writes.clears(key) ? Maybe() : cluster->get(key, version());
	const Write& write = own->second;
	if (write.stamped)
		throw Fail{unreadable};
	if (write.known)
		return write.value;
	Maybe result = cluster->get(key, version());
	for (const Atomic& op : write.ops)
		result = applied(op, result);
	return result;
}

std::optional<std::pair<Bytes, Bytes>> Transaction::next(Bytes from, const Bytes& end) {
	for (;; from = next_key(from)) {
		const Bytes* stored = cluster->at_or_after(from);
		auto own = writes.keys.lower_bound(from);
		const Bytes* nearest = stored;
		if (own != writes.keys.end() && (!nearest || own->first < *nearest))
			nearest = &own->first;
		if (!nearest || *nearest >= end)
			return {};
		from = *nearest;
		if (Maybe found = value(from))
			return {{from, *found}};
	}
}

std::optional<std::pair<Bytes, Bytes>> Transaction::previous(Bytes before, const Bytes& begin) {
	for (;;) {
		const Bytes* nearest = cluster->before(before);
		auto own = writes.keys.lower_bound(before);
		if (own != writes.keys.begin() && (!nearest || std::prev(own)->first > *nearest))
			nearest = &std::prev(own)->first;
		if (!nearest || *nearest < begin)
			return {};
		before = *nearest;
		if (Maybe found = value(before))
			return {{before, *found}};
	}
}

// resolve finds the key that a selector means: offset 1 is the first at or
// after its key (after it, with or_equal), 0 the one before that.
Bytes Transaction::resolve(const Selector& selector, bool snapshot) {
	const Bytes from = selector.or_equal ? next_key(selector.key) : selector.key;
	Bytes at = from;
	if (selector.offset > 0) {
		auto found = next(at, last_key);
		for (int i = 1; found && i < selector.offset; i++)
			found = next(next_key(found->first), last_key);
		at = found ? found->first : last_key;
	} else {
		for (int i = selector.offset; i <= 0; i++) {
			auto found = previous(at, "");
			if (!found) {
				at = "";
				break;
			}
			at = found->first;
		}
	}
	if (!snapshot)
		depend(std::min(from, at), std::max(from, next_key(at)));
	return at;
}

// depend makes the commit fail if another writes into the range, as far as
// the transaction's own writes do not decide what is there.
void Transaction::depend(const Bytes& begin, const Bytes& end) {
	for (const Range& part : writes.unknown(begin, end))
		read.push_back(part);
}

void Transaction::get(const Bytes& key, bool snapshot, Promise& out) {
	check_read_key(key);
	if (key.size() > max_key)
		return; // there is none
	cluster->check_age(version());
	Maybe found = value(key);
	out.present = found.has_value();
	out.bytes = found.value_or("");
	if (!snapshot)
		depend(key, next_key(key));
}

void Transaction::get_key(const Selector& selector, bool snapshot, Promise& out) {
	check_read_key(selector.key);
	cluster->check_age(version());
	out.bytes = resolve(selector, snapshot);
}

void Transaction::get_range(const RangeRead& r, Promise& out) {
	check_read_key(r.begin.key);
	check_read_key(r.end.key);
	cluster->check_age(version());
	// The two selectors that ranges of keys are made of need no look at the data.
	auto bound = [&](const Selector& s) {
		if (s.offset != 1)
			return resolve(s, r.snapshot);
		return s.or_equal ? next_key(s.key) : s.key;
	};
	const Bytes begin = bound(r.begin), end = bound(r.end);
	if (begin >= end)
		return;
	size_t bytes = 0;
	auto row = r.reverse ? previous(end, begin) : next(begin, end);
	while (row) {
		bytes += row->first.size() + row->second.size();
		out.rows.push_back(*row);
		if ((r.limit > 0 && out.rows.size() == static_cast<size_t>(r.limit)) || (r.bytes > 0 && bytes >= r.bytes)) {
			out.more = true;
			break;
		}
		row = r.reverse ? previous(row->first, begin) : next(next_key(row->first), end);
	}
	if (r.snapshot)
		return;
	if (out.more && r.reverse)
		depend(out.rows.back().first, end);
	else if (out.more)
		depend(begin, next_key(out.rows.back().first));
	else
		depend(begin, end);
}

void Transaction::set(const Bytes& key, const Bytes& value) {
	check_written_key(key);
	if (value.size() > max_value)
		throw Fail{value_too_large};
	Write write;
	write.known = true;
	write.value = value;
	writes.set(key, write);
	wrote.push_back({key, next_key(key)});
}

void Transaction::clear(const Bytes& begin, const Bytes& end) {
	if (begin > end)
		throw Fail{inverted_range};
	if (end > last_key)
		throw Fail{illegal_key};
	// Nothing is stored under a key above the limit.
	const Bytes from = begin.substr(0, max_key + 1), to = end.substr(0, max_key + 1);
	if (from >= to)
		return;
	writes.clear(from, to);
	wrote.push_back({from, to});
}

void Transaction::atomic(const Bytes& key, const Bytes& parameter, FDBMutationType type) {
	check_written_key(key);
	if (parameter.size() > max_value)
		throw Fail{value_too_large};
	const Bytes& stamped = type == FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY ? key : parameter;
	if (type == FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY || type == FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_VALUE) {
		uint32_t at = 0;
		for (size_t i = 0; stamped.size() >= 4 && i < 4; i++)
			at |= static_cast<uint32_t>(static_cast<uint8_t>(stamped[stamped.size() - 4 + i])) << (8 * i);
		if (stamped.size() < 4 || at + size_t{14} > stamped.size())
			throw Fail{invalid_operation};
	}
	if (type == FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_KEY) {
		writes.stamped_keys.emplace_back(key, parameter);
		return; // the commit knows which key conflicts
	}
	if (type == FDB_MUTATION_TYPE_SET_VERSIONSTAMPED_VALUE) {
		Write write;
		write.known = write.stamped = true;
		write.value = parameter;
		writes.set(key, write);
	} else {
		applied({type, parameter}, {}); // throws for a type that there is not
		writes.atomic(key, {type, parameter});
	}
	wrote.push_back({key, next_key(key)});
}

void Transaction::conflict(const Bytes& begin, const Bytes& end, bool write) {
	if (begin > end)
		throw Fail{inverted_range};
	if (end > next_key(last_key))
		throw Fail{illegal_key};
	if (write)
		wrote.push_back({begin, end});
	else
		depend(begin, end);
}

size_t Transaction::size() const {
	size_t n = writes.size();
	for (const auto* ranges : {&read, &wrote})
		for (const Range& r : *ranges)
			n += 32 + r.begin.size() + r.end.size();
	return n;
}

void Transaction::commit(const std::shared_ptr<Promise>& promise) {
	if (fdb_error_t code = refusal())
		return promise->finish(code);
	if (writes.empty() && wrote.empty()) { // all that it read was one snapshot: nothing to tell the cluster
		committed_version = -1;
		for (auto& stamp : stamps)
			stamp->finish(no_commit_version);
		forget();
		return promise->finish(0);
	}
	if (size() > static_cast<size_t>(size_limit))
		return promise->finish(too_large);
	track(promise);
	committing = true;
	cluster->perform([self = shared_from_this(), promise] {
		if (promise->ready())
			return; // called off before it reached the cluster
		self->settle(promise);
	});
}

// settle commits, or does what the test asked for instead.
void Transaction::settle(const std::shared_ptr<Promise>& promise) {
	auto& fault = cluster->commits_fail;
	const bool faulty = fault.count > 0;
	fdb_error_t code = faulty ? fault.code : 0;
	const bool hangs = faulty && code == 0;
	if (faulty)
		fault.count--;
	if (!faulty || fault.committed) {
		try {
			committed_version = cluster->commit(version(), read, wrote, writes);
			if (!faulty) {
				Bytes stamp(10, '\0');
				for (int i = 0; i < 8; i++)
					stamp[i] = static_cast<char>(committed_version >> (56 - 8 * i));
				for (auto& p : stamps) {
					p->bytes = stamp;
					p->finish(0);
				}
			}
		} catch (const Fail& fail) {
			code = fail.code;
		}
	}
	if (hangs)
		return; // until the timeout or cancel
	committing = false;
	if (code == 0)
		forget();
	cluster->deliver(promise, code);
}

void Transaction::versionstamp(const std::shared_ptr<Promise>& promise) {
	if (fdb_error_t code = refusal())
		return promise->finish(code);
	track(promise);
	stamps.push_back(promise);
}

void Transaction::on_error(const std::shared_ptr<Promise>& promise, fdb_error_t code) {
	if (broken || ended)
		return promise->finish(broken ? broken : ended);
	if (!retryable(code) || (retry_limit >= 0 && retries >= retry_limit))
		return promise->finish(code);
	retries++;
	const double longest = static_cast<double>(max_delay) / 1000;
	double pause = std::min(backoff, longest) * random_part();
	if (code == too_old || code == future_version)
		pause = std::min(0.01, longest);
	else
		backoff = std::min(2 * backoff, longest);
	fail_pending(cancelled);
	forget();
	track(promise);
	loop().at(Clock::now() + std::chrono::microseconds(static_cast<int64_t>(pause * 1e6)),
	          [promise] { promise->finish(0); });
}

// forget makes it a new transaction with the same options.
void Transaction::forget() {
	read_version = -1;
	deferred = 0;
	committing = false;
	writes = Writes();
	read.clear();
	wrote.clear();
	stamps.clear();
}

void Transaction::end(fdb_error_t code) {
	if (!ended)
		ended = code;
	fail_pending(ended);
}

void Transaction::cancel() {
	// A client that has not reached its cluster does not hear of a cancel: the real one, with its
	// multi-version part, has no transaction to tell. The timeout still works.
	if (broken || cluster->available)
		end(cancelled);
}

void Transaction::reset() {
	fail_pending(cancelled);
	forget();
	created = Clock::now();
	timeout = 0;
	retry_limit = -1;
	max_delay = 1000;
	size_limit = 10000000;
	timers++;
	retries = 0;
	backoff = 0.01;
	ended = 0;
}

void Transaction::set_option(int option, int64_t value) {
	switch (option) {
	case FDB_TR_OPTION_TIMEOUT:
		timeout = value;
		timers++;
		if (timeout > 0)
			loop().at(created + std::chrono::milliseconds(timeout), [weak = weak_from_this(), timer = timers] {
				auto self = weak.lock();
				if (self && self->timers == timer)
					self->end(timed_out);
			});
		break;
	case FDB_TR_OPTION_RETRY_LIMIT:
		retry_limit = value;
		break;
	case FDB_TR_OPTION_MAX_RETRY_DELAY:
		max_delay = value;
		break;
	case FDB_TR_OPTION_SIZE_LIMIT:
		size_limit = value;
		break;
	default:
		break;
	}
}
