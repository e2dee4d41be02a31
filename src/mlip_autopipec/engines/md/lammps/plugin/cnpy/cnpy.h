// Reads the arrays of an .npz file as numpy.savez writes them: a zip archive whose entries are stored, not compressed.
// Takes the place of cnpy (which needs the headers of zlib) under the names that python-ace's evaluator calls.

#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace cnpy {

struct NpyArray {
  std::vector<size_t> shape;
  std::vector<double> values;

  template <typename T> std::vector<T> as_vec() const { return std::vector<T>(values.begin(), values.end()); }
};

using npz_t = std::map<std::string, NpyArray>;

// An .npy file of doubles in C order.
inline NpyArray npy_parse(const std::string &text, const std::string &what)
{
  const auto fail = [&](const char *why) { throw std::runtime_error(what + ": " + why); };
  if (text.size() < 12 || text.compare(0, 6, "\x93NUMPY", 6)) fail("no .npy data");
  const bool first = text[6] == 1;
  uint32_t length = 0;
  std::memcpy(&length, &text[8], first ? 2 : 4);
  const size_t begin = (first ? 10 : 12) + size_t(length);
  if (begin > text.size()) fail("cut short");
  const std::string head = text.substr(0, begin);
  if (head.find("'<f8'") == std::string::npos) fail("no doubles");
  if (head.find("'fortran_order': False") == std::string::npos) fail("not in C order");
  NpyArray array;
  size_t count = 1, at = head.find('(');
  const size_t end = head.find(')');
  if (at == std::string::npos || end == std::string::npos) fail("no shape");
  while (++at < end) {
    if (head[at] < '0' || head[at] > '9') continue;
    size_t digits = 0;
    array.shape.push_back(std::stoul(head.substr(at, end - at), &digits));
    at += digits;
    count *= array.shape.back();
  }
  if (text.size() - begin < count * sizeof(double)) fail("cut short");
  array.values.resize(count);
  std::memcpy(array.values.data(), &text[begin], count * sizeof(double));
  return array;
}

// Every array of the archive by its name. Goes by the central directory at the end of the file, for sizes in front of
// an entry may be missing.
inline npz_t npz_load(const std::string &name)
{
  std::ifstream file(name, std::ios::binary);
  if (!file) throw std::runtime_error("cannot open " + name);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto number = [&](size_t at, size_t bytes) {
    if (at + bytes > text.size()) throw std::runtime_error(name + ": cut short");
    uint32_t value = 0;
    std::memcpy(&value, &text[at], bytes);
    return size_t(value);
  };
  const size_t tail = text.rfind("PK\x05\x06");
  if (tail == std::string::npos) throw std::runtime_error(name + ": no .npz file");
  npz_t arrays;
  size_t at = number(tail + 16, 4);
  for (size_t left = number(tail + 10, 2); left > 0; --left) {
    const size_t method = number(at + 10, 2), size = number(at + 24, 4), letters = number(at + 28, 2);
    const size_t local = number(at + 42, 4);
    std::string key = text.substr(at + 46, letters);
    if (method != 0) throw std::runtime_error(name + ": it is compressed; write it with numpy.savez");
    const size_t data = local + 30 + number(local + 26, 2) + number(local + 28, 2);
    number(data, 0);
    if (data + size > text.size()) throw std::runtime_error(name + ": cut short");
    if (key.size() > 4 && key.compare(key.size() - 4, 4, ".npy") == 0) key.resize(key.size() - 4);
    arrays[key] = npy_parse(text.substr(data, size), name + ", " + key);
    at += 46 + letters + number(at + 30, 2) + number(at + 32, 2);
  }
  return arrays;
}

}    // namespace cnpy
