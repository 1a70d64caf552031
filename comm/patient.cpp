#include "comm/patient.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace trireme {
namespace {

constexpr std::int64_t word = sizeof(std::int32_t);

/// The text, and up to a word of anything.
Tensor words_of(MemoryPool& pool, const std::string& text) {
  Tensor words(pool, {static_cast<std::int64_t>(text.size()) / word + 1}, DType::i32);
  std::memcpy(words.raw(), text.data(), text.size());
  return words;
}

Tensor length_of(MemoryPool& pool, std::int32_t length) {
  Tensor tensor(pool, {1}, DType::i32);
  tensor.values<std::int32_t>()[0] = length;
  return tensor;
}

std::string text_of(const Tensor& words, std::size_t length) { return {static_cast<const char*>(words.raw()), length}; }

/// Receives a message from each rank that has a tensor here; a rank that stays silent loses it.
void receive_each(Communicator& ranks, std::vector<Tensor>& from, int tag, Deadline deadline) {
  std::vector<Request> requests(from.size());
  for (std::size_t rank = 1; rank < from.size(); ++rank) {
    if (from[rank].empty()) continue;
    const Transfer receive{Transfer::Direction::receive, static_cast<int>(rank), tag, from[rank]};
    requests[rank] = ranks.exchange({&receive, 1}).received;
  }
  for (std::size_t rank = 1; rank < from.size(); ++rank) try {
      complete(requests[rank], deadline, {});
    } catch (const Unanswered&) {
      from[rank] = Tensor();
      // For ever: to end it would be to wait for the silent rank.
      static auto& abandoned = *new std::vector<Request>;
      abandoned.push_back(std::move(requests[rank]));
    }
}

}  // namespace

void complete(Request& request, Deadline deadline, const std::string& late) {
  while (!request.test()) {
    if (std::chrono::steady_clock::now() > deadline) throw Unanswered(late);
    std::this_thread::yield();
  }
}

std::string broadcast_text(Communicator& ranks, const std::string& text, Deadline deadline) {
  MemoryPool pool(make_host_memory());
  Tensor length = length_of(pool, static_cast<std::int32_t>(text.size()));
  const std::string late = fmt::format("rank {} waits in vain for a message from rank 0", ranks.rank());
  Request request = ranks.broadcast(length, 0);
  complete(request, deadline, late);
  const auto bytes = static_cast<std::size_t>(length.values<std::int32_t>()[0]);
  std::string padded = text;
  padded.resize(bytes);
  Tensor words = words_of(pool, padded);
  request = ranks.broadcast(words, 0);
  complete(request, deadline, late);
  return text_of(words, bytes);
}

std::vector<std::optional<std::string>> gather_texts(Communicator& ranks, const std::string& text, Deadline deadline) {
  // What a silent rank may still write to is never given back.
  static auto& pool = *new MemoryPool(make_host_memory());
  const auto count = static_cast<std::size_t>(ranks.size());
  if (ranks.rank() != 0) {
    const std::vector<Transfer> sends = {
        {Transfer::Direction::send, 0, length_tag, length_of(pool, static_cast<std::int32_t>(text.size()))},
        {Transfer::Direction::send, 0, text_tag, words_of(pool, text)}};
    Exchange exchange = ranks.exchange(sends);
    complete(exchange.sent, deadline, fmt::format("rank 0 does not take the message of rank {}", ranks.rank()));
    return {};
  }
  std::vector<Tensor> lengths(count);
  std::vector<Tensor> texts(count);
  for (std::size_t rank = 1; rank < count; ++rank) lengths[rank] = length_of(pool, 0);
  receive_each(ranks, lengths, length_tag, deadline);
  for (std::size_t rank = 1; rank < count; ++rank)
    if (!lengths[rank].empty())
      texts[rank] = words_of(pool, std::string(static_cast<std::size_t>(lengths[rank].values<std::int32_t>()[0]), ' '));
  receive_each(ranks, texts, text_tag, deadline);

  std::vector<std::optional<std::string>> result(count);
  result[0] = text;
  for (std::size_t rank = 1; rank < count; ++rank)
    if (!texts[rank].empty())
      result[rank] = text_of(texts[rank], static_cast<std::size_t>(lengths[rank].values<std::int32_t>()[0]));
  return result;
}

}  // namespace trireme
