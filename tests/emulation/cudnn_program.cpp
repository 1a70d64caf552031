#include "tests/emulation/cudnn_program.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <set>

#include "kernels/tensor.h"

namespace trireme::emulation::cudnn_program {

void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "emulated cuDNN: %s\n", what);
  std::abort();
}

namespace {

/// Calls with every index below the extents.
template <typename Body>
void for_each(const Index& extents, Body body) {
  Index i{};
  for (i[0] = 0; i[0] < extents[0]; ++i[0])
    for (i[1] = 0; i[1] < extents[1]; ++i[1])
      for (i[2] = 0; i[2] < extents[2]; ++i[2])
        for (i[3] = 0; i[3] < extents[3]; ++i[3]) body(i);
}

std::int64_t span_of(const TensorInfo& info) {
  std::int64_t last = 0;
  for (std::size_t k = 0; k < 4; ++k) last += (info.extents[k] - 1) * info.strides[k];
  return last + 1;
}

/// Elements where they are: in the caller's memory, or floats of the graph's own.
class Array {
 public:
  Array() = default;
  Array(const TensorInfo& info, void* memory) : info_(info), memory_(memory) {
    if (memory == nullptr) inner_.assign(static_cast<std::size_t>(span_of(info)), std::nanf(""));
  }

  const Index& extents() const { return info_.extents; }
  cudnnDataType_t type() const { return info_.type; }
  /// The element that meets element i of a tensor of these extents: axes may be shorter, by a factor.
  float at(const Index& i, const Index& of) const { return load(offset(i, of)); }
  void set(const Index& i, float value) { store(offset(i, info_.extents), value); }
  std::int64_t offset(const Index& i, const Index& of) const {
    std::int64_t sum = 0;
    for (std::size_t k = 0; k < 4; ++k)
      sum += (info_.extents[k] == of[k] ? i[k] : i[k] * info_.extents[k] / of[k]) * info_.strides[k];
    return sum;
  }
  float load(std::int64_t offset) const {
    if (memory_ == nullptr) return inner_[static_cast<std::size_t>(offset)];
    if (info_.type == CUDNN_DATA_INT32) return static_cast<float>(static_cast<const std::int32_t*>(memory_)[offset]);
    if (info_.type == CUDNN_DATA_BFLOAT16) return to_float(static_cast<const bfloat16*>(memory_)[offset]);
    return static_cast<const float*>(memory_)[offset];
  }
  void store(std::int64_t offset, float value) {
    const bool narrow = info_.type == CUDNN_DATA_BFLOAT16;
    if (memory_ == nullptr)
      inner_[static_cast<std::size_t>(offset)] = narrow ? to_float(to_bfloat16(value)) : value;
    else if (narrow)
      static_cast<bfloat16*>(memory_)[offset] = to_bfloat16(value);
    else
      static_cast<float*>(memory_)[offset] = value;
  }

 private:
  TensorInfo info_;
  void* memory_ = nullptr;
  std::vector<float> inner_;
};

float computed(cudnnPointwiseMode_t mode, float x, float b) {
  switch (mode) {
    case CUDNN_POINTWISE_ADD:
      return x + b;
    case CUDNN_POINTWISE_SUB:
      return x - b;
    case CUDNN_POINTWISE_MUL:
      return x * b;
    case CUDNN_POINTWISE_DIV:
      return x / b;
    case CUDNN_POINTWISE_EXP:
      return std::exp(x);
    case CUDNN_POINTWISE_LOG:
      return std::log(x);
    case CUDNN_POINTWISE_IDENTITY:
      return x;
    case CUDNN_POINTWISE_CMP_GE:
      return x >= b ? 1.0F : 0.0F;
    case CUDNN_POINTWISE_CMP_LT:
      return x < b ? 1.0F : 0.0F;
    case CUDNN_POINTWISE_LOGICAL_AND:
      return x != 0.0F && b != 0.0F ? 1.0F : 0.0F;
    default:
      demand(false, "a pointwise mode that no test needed so far");
      return 0.0F;
  }
}

void run_pointwise(const Operation& o, const Array& x, const Array& b, const Array& condition, Array& out) {
  const Index& of = out.extents();
  for_each(of, [&](const Index& i) {
    if (o.mode == CUDNN_POINTWISE_GEN_INDEX)
      out.set(i, static_cast<float>(i[static_cast<std::size_t>(o.axis)]));
    else if (o.mode == CUDNN_POINTWISE_BINARY_SELECT)
      out.set(i, condition.at(i, of) != 0.0F ? x.at(i, of) : b.at(i, of));
    else
      out.set(i, computed(o.mode, x.at(i, of), o.b.id == 0 ? 0.0F : b.at(i, of)));
  });
}

/// What there is of a product in each batch; empty arrays: all.
struct Limits {
  const Array &rows, &columns, &terms;

  static std::int64_t of(const Array& limit, std::int64_t batch, std::int64_t all) {
    if (limit.extents()[0] == 0) return all;
    return static_cast<std::int64_t>(limit.at({batch, 0, 0, 0}, limit.extents()));
  }
};

/// Beyond the limits the result is NaN: the library promises nothing of it.
void run_matmul(const Array& a, const Array& b, const Limits& limits, Array& out) {
  Index of_a = out.extents();
  Index of_b = out.extents();
  of_a[3] = of_b[2] = a.extents()[3];
  for_each(out.extents(), [&](const Index& i) {
    const bool exists = i[2] < Limits::of(limits.rows, i[0], out.extents()[2]) &&
                        i[3] < Limits::of(limits.columns, i[0], out.extents()[3]);
    float sum = exists ? 0.0F : std::nanf("");
    const std::int64_t terms = Limits::of(limits.terms, i[0], of_a[3]);
    for (std::int64_t k = 0; k < terms; ++k)
      sum += a.at({i[0], i[1], i[2], k}, of_a) * b.at({i[0], i[1], k, i[3]}, of_b);
    out.set(i, sum);
  });
}

void run_reduction(const Operation& o, const Array& x, Array& out) {
  const bool is_maximum = o.reduction == CUDNN_REDUCE_TENSOR_MAX;
  demand(is_maximum || o.reduction == CUDNN_REDUCE_TENSOR_ADD, "a reduction that no test needed so far");
  std::vector<float> totals(static_cast<std::size_t>(span_of(o.out)),
                            is_maximum ? -std::numeric_limits<float>::infinity() : 0.0F);
  for_each(x.extents(), [&](const Index& i) {
    float& total = totals[static_cast<std::size_t>(out.offset(i, x.extents()))];
    total = is_maximum ? std::max(total, x.at(i, x.extents())) : total + x.at(i, x.extents());
  });
  for_each(out.extents(),
           [&](const Index& i) { out.set(i, totals[static_cast<std::size_t>(out.offset(i, out.extents()))]); });
}

/// Calls with the indices of image, filter and result of every product of a convolution.
template <typename Body>
void for_each_product(const Operation& o, Body body) {
  const std::int64_t depth = o.b.extents[1];
  const std::int64_t outputs = o.b.extents[0] / (o.x.extents[1] / depth);  // of one group
  for_each(o.out.extents, [&](const Index& y) {
    for_each({1, depth, o.b.extents[2], o.b.extents[3]}, [&](const Index& f) {
      const std::int64_t row = y[2] * o.strides[0] - o.paddings[0] + f[2] * o.dilations[0];
      const std::int64_t column = y[3] * o.strides[1] - o.paddings[1] + f[3] * o.dilations[1];
      if (row < 0 || column < 0 || row >= o.x.extents[2] || column >= o.x.extents[3]) return;
      body(Index{y[0], y[1] / outputs * depth + f[1], row, column}, Index{y[1], f[1], f[2], f[3]}, y);
    });
  });
}

/// tf32 keeps 10 bits of the mantissa.
float rounded(float value, Precision precision) {
  if (precision != Precision::tf32) return value;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + 0x1000U) & ~0x1fffU);
}

void run_convolution(const Operation& o, Array& image, Array& filter, Array& result, Precision precision) {
  Array& computed = o.kind == Kind::convolution ? result : o.kind == Kind::data_gradient ? image : filter;
  std::vector<float> sums(static_cast<std::size_t>(span_of(o.kind == Kind::convolution     ? o.out
                                                           : o.kind == Kind::data_gradient ? o.x
                                                                                           : o.b)));
  const auto value = [&](const Array& array, const Index& i) {
    return rounded(array.at(i, array.extents()), precision);
  };
  for_each_product(o, [&](const Index& x, const Index& f, const Index& y) {
    const Index& at = o.kind == Kind::convolution ? y : o.kind == Kind::data_gradient ? x : f;
    float& sum = sums[static_cast<std::size_t>(computed.offset(at, computed.extents()))];
    if (o.kind == Kind::convolution) sum += value(image, x) * value(filter, f);
    if (o.kind == Kind::data_gradient) sum += value(result, y) * value(filter, f);
    if (o.kind == Kind::filter_gradient) sum += value(image, x) * value(result, y);
  });
  for_each(computed.extents(), [&](const Index& i) {
    computed.set(i, sums[static_cast<std::size_t>(computed.offset(i, computed.extents()))]);
  });
}

/// The tensor that an operation writes.
const TensorInfo& written(const Operation& o) {
  return o.kind == Kind::data_gradient ? o.x : o.kind == Kind::filter_gradient ? o.b : o.out;
}

std::vector<const TensorInfo*> read(const Operation& o) {
  std::vector<const TensorInfo*> inputs;
  for (const TensorInfo* info : {&o.x, &o.b, &o.condition, &o.rows, &o.columns, &o.terms, &o.out})
    if (info->id != 0 && info->id != written(o).id) inputs.push_back(info);
  return inputs;
}

void run(const Program& program, const std::map<std::int64_t, void*>& memory, std::map<std::int64_t, float> values,
         Precision precision) {
  std::map<std::int64_t, Array> arrays;
  const auto array = [&](const TensorInfo& info) -> Array& {
    void* where = nullptr;
    if (info.is_value)
      where = &values.at(info.id);
    else if (info.id != 0 && !info.is_inner)
      where = memory.at(info.id);
    return arrays.try_emplace(info.id, info, where).first->second;
  };
  for (const Operation& o : program) {
    Array& x = array(o.x);
    Array& b = array(o.b);
    Array& out = array(o.out);
    if (o.kind == Kind::matmul) run_matmul(x, b, {array(o.rows), array(o.columns), array(o.terms)}, out);
    if (o.kind == Kind::pointwise) run_pointwise(o, x, b, array(o.condition), out);
    if (o.kind == Kind::reduction) run_reduction(o, x, out);
    if (o.kind == Kind::reshape)  // the same places under other indices
      for_each(out.extents(), [&](const Index& i) {
        const std::int64_t place = out.offset(i, out.extents());
        out.store(place, x.load(place));
      });
    if (o.kind >= Kind::convolution) run_convolution(o, x, b, out, precision);
    Array& result = array(written(o));
    if (precision == Precision::none) for_each(result.extents(), [&](const Index& i) { result.set(i, std::nanf("")); });
  }
}

void check_shapes(const Operation& o) {
  const auto fits = [&](const TensorInfo& part, std::size_t axis) {
    return part.extents[axis] > 0 && o.out.extents[axis] % part.extents[axis] == 0;
  };
  if (o.kind == Kind::matmul)
    demand(o.x.extents[3] == o.b.extents[2] && o.x.extents[2] == o.out.extents[2] &&
               o.b.extents[3] == o.out.extents[3] && fits(o.x, 0) && fits(o.b, 0) && fits(o.x, 1) && fits(o.b, 1),
           "the shapes of a product do not fit");
  for (const TensorInfo* limit : {&o.rows, &o.columns, &o.terms})
    demand(limit->id == 0 || (limit->type == CUDNN_DATA_INT32 && limit->extents == Index{o.out.extents[0], 1, 1, 1}),
           "the limit of a product is not one number for each batch");
  if (o.kind == Kind::pointwise)
    for (const TensorInfo* input : read(o))
      for (std::size_t axis = 0; axis < 4; ++axis)
        demand(input->extents[axis] == 1 || input->extents[axis] == o.out.extents[axis],
               "the shapes of a pointwise operation do not fit");
  if (o.kind == Kind::reduction)
    for (std::size_t axis = 0; axis < 4; ++axis)
      demand(o.x.extents[axis] % o.out.extents[axis] == 0, "the shapes of a reduction do not fit");
  if (o.kind == Kind::reshape) demand(span_of(o.x) == span_of(o.out), "the shapes of a reshape do not fit");
}

}  // namespace

void check(const Program& program) {
  std::set<std::int64_t> known;
  for (const Operation& o : program) {
    check_shapes(o);
    for (const TensorInfo* input : read(o))
      demand(!input->is_inner || known.contains(input->id), "an inner tensor is read before it is written");
    known.insert(written(o).id);
  }
}

std::function<void()> bound(const std::shared_ptr<const Program>& program, const std::map<std::int64_t, void*>& memory,
                            Precision precision) {
  std::map<std::int64_t, float> values;
  for (const Operation& o : *program) {
    for (const TensorInfo* info : {&o.x, &o.b, &o.condition, &o.rows, &o.columns, &o.terms, &o.out}) {
      if (info->id == 0 || info->is_inner) continue;
      const auto found = memory.find(info->id);
      demand(found != memory.end() && found->second != nullptr, "a tensor has no memory");
      demand(reinterpret_cast<std::uintptr_t>(found->second) % (info->is_value ? 4 : 16) == 0,
             "a tensor is not aligned to 16 bytes");
      if (info->is_value) values[info->id] = *static_cast<const float*>(found->second);
    }
  }
  return [program, memory, values, precision] { run(*program, memory, values, precision); };
}

}  // namespace trireme::emulation::cudnn_program
