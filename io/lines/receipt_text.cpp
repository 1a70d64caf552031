#include "io/lines/receipt_text.h"

#include <fmt/format.h>

#include <array>
#include <set>
#include <string_view>

#include "io/lines/receipt_words.h"
#include "io/utf8.h"

namespace trireme {
namespace {

using namespace receipt_words;

constexpr std::string_view digits = "0123456789";
constexpr std::string_view code_letters = "0123456789ABCDEFGHJKLMNPQRTUWXY";  // GB 32100: no I, O, S, V, Z
constexpr std::array<std::string_view, 10> capital_digits = {"零", "壹", "贰", "叁", "肆",
                                                             "伍", "陆", "柒", "捌", "玖"};

/// 1..9999; `padded` begins with the zero that stands for what is missing before.
std::string capital_group(std::int64_t group, bool padded) {
  constexpr std::array<std::string_view, 4> units = {"仟", "佰", "拾", ""};
  std::string text;
  bool zero = padded;
  std::int64_t power = 1000;
  for (const std::string_view unit : units) {
    const auto digit = static_cast<std::size_t>(group / power % 10);
    if (digit == 0) {
      zero = zero || !text.empty();
    } else {
      if (zero) text += capital_digits[0];
      zero = false;
      text.append(capital_digits[digit]).append(unit);
    }
    power /= 10;
  }
  return text;
}

std::string number_of(Draws& draws, int length) {
  std::string text;
  for (int i = 0; i < length; ++i) text += digits[static_cast<std::size_t>(draws.below(10))];
  return text;
}

/// More small amounts than large ones, up to 10^7 yuan.
std::int64_t amount(Draws& draws) {
  const double size = std::pow(10.0, draws.between(2.0, draws.chance(0.2) ? 9.0 : 6.5));
  std::int64_t hundredths = 1 + static_cast<std::int64_t>(size);
  if (draws.chance(0.3)) hundredths = (hundredths + 99) / 100 * 100;
  return hundredths;
}

std::string in_digits(std::int64_t hundredths, bool commas) {
  std::string yuan = std::to_string(hundredths / 100);
  if (commas)
    for (auto at = static_cast<std::ptrdiff_t>(yuan.size()) - 3; at > 0; at -= 3)
      yuan.insert(static_cast<std::size_t>(at), 1, ',');
  return fmt::format("{}.{:02}", yuan, hundredths % 100);
}

std::string price(Draws& draws) {
  return fmt::format("{}{}", draws.one_of(currency_signs), in_digits(amount(draws), draws.chance(0.3)));
}

std::string clock_time(Draws& draws) {
  return draws.chance(0.5) ? fmt::format("{:02}:{:02}:{:02}", draws.below(24), draws.below(60), draws.below(60))
                           : fmt::format("{:02}:{:02}", draws.below(24), draws.below(60));
}

std::string date(Draws& draws) {
  const int year = draws.among(1998, 2035), month = draws.among(1, 12), day = draws.among(1, 28 + draws.below(4));
  switch (draws.below(5)) {
    case 0:
      return fmt::format("{}年{:02}月{:02}日", year, month, day);
    case 1:
      return fmt::format("{}-{:02}-{:02}", year, month, day);
    case 2:
      return fmt::format("{}/{}/{}", year, month, day);
    case 3:
      return fmt::format("{}.{:02}.{:02}", year, month, day);
    default:
      return fmt::format("{}-{:02}-{:02} {}", year, month, day, clock_time(draws));
  }
}

std::string goods(Draws& draws) {
  std::string name;
  if (draws.chance(0.3)) name = fmt::format("*{}*", draws.one_of(categories));
  if (draws.chance(0.3)) name += draws.one_of(qualities);
  name += draws.one_of(goods_names);
  if (draws.chance(0.4)) name += fmt::format("{}{}", draws.among(1, 999), draws.one_of(measures));
  if (draws.chance(0.2)) name += fmt::format("({})", draws.one_of(variants));
  if (draws.chance(0.15)) name += fmt::format(" {}{}", draws.one_of(models), number_of(draws, draws.among(1, 4)));
  return name;
}

std::string item(Draws& draws) {
  std::string text;
  if (draws.chance(0.2)) text = fmt::format("{} ", number_of(draws, draws.chance(0.5) ? 2 : 6));
  text += goods(draws);
  if (draws.chance(0.25)) text += fmt::format(" {}{}", draws.among(1, 50), draws.one_of(units));
  if (draws.chance(0.25)) text += fmt::format(" {}", in_digits(amount(draws), false));
  return text;
}

std::string company(Draws& draws) {
  std::string name(draws.one_of(cities));
  for (int i = draws.among(2, 3); i > 0; --i) name += draws.one_of(name_characters);
  name += draws.one_of(trades);
  return name.append(draws.one_of(company_kinds));
}

std::string person(Draws& draws) {
  std::string name(draws.one_of(surnames));
  for (int i = draws.among(1, 2); i > 0; --i) name += draws.one_of(name_characters);
  return name;
}

std::string address(Draws& draws) {
  std::string road;
  for (int i = 2; i > 0; --i) road += draws.one_of(name_characters);
  std::string text = fmt::format("{}{}{}{}{}号", draws.one_of(cities), draws.one_of(districts), road,
                                 draws.one_of(roads), draws.among(1, 1999));
  if (draws.chance(0.3)) text += fmt::format("{}楼{}室", draws.among(1, 40), draws.among(101, 3299));
  return text;
}

std::string telephone(Draws& draws) {
  if (draws.chance(0.5)) return fmt::format("1{}{}", draws.among(3, 9), number_of(draws, 9));
  return fmt::format("0{}-{}", number_of(draws, draws.among(2, 3)), number_of(draws, 8));
}

std::string account(Draws& draws) {
  std::string number = number_of(draws, draws.among(15, 19));
  if (draws.chance(0.5)) return number;
  return fmt::format("{}{}支行{}", draws.one_of(banks), draws.one_of(cities), number);
}

/// The field's name before its value, sometimes.
template <std::size_t count>
std::string named(Draws& draws, const std::array<std::string_view, count>& names, const std::string& value) {
  if (draws.chance(0.4)) return value;
  return fmt::format("{}{}{}", draws.one_of(names), draws.one_of(colons), value);
}

std::string rate(Draws& draws) { return fmt::format("税率{}{}%", draws.one_of(colons), draws.one_of(tax_rates)); }

std::string capital_amount(Draws& draws) {
  // Written in full as well, where every unit has its digit.
  const std::int64_t hundredths = draws.chance(0.3) ? 1111111 + amount(draws) % 8888888 : amount(draws);
  return named(draws, capital_names, capital_numerals(hundredths));
}

}  // namespace

std::string capital_numerals(std::int64_t hundredths) {
  const std::int64_t yuan = hundredths / 100;
  constexpr std::array<std::pair<std::int64_t, std::string_view>, 3> groups = {
      {{100000000, "亿"}, {10000, "万"}, {1, ""}}};
  std::string text;
  bool zero = false;  // a whole group is missing
  for (const auto& [size, unit] : groups) {
    const std::int64_t group = yuan / size % 10000;
    if (group == 0) {
      zero = !text.empty();
      continue;
    }
    text += capital_group(group, zero || (!text.empty() && group < 1000));
    text += unit;
    zero = false;
  }
  if (yuan > 0) text += "元";
  const auto jiao = static_cast<std::size_t>(hundredths / 10 % 10), fen = static_cast<std::size_t>(hundredths % 10);
  if (jiao == 0 && fen == 0) return text.empty() ? "零元整" : text.append("整");
  if (jiao > 0) text.append(capital_digits[jiao]).append("角");
  if (jiao == 0 && yuan > 0) text += capital_digits[0];
  if (fen > 0) text.append(capital_digits[fen]).append("分");
  if (fen == 0) text += "整";
  return text;
}

std::string tax_number(Draws& draws) {
  std::string code = fmt::format("9{}", draws.chance(0.8) ? 1 : 2);
  code += number_of(draws, 6);
  for (int i = 0; i < 9; ++i) code += code_letters[static_cast<std::size_t>(draws.below(code_letters.size()))];
  int sum = 0, weight = 1;
  for (const char letter : code) {
    sum += static_cast<int>(code_letters.find(letter)) * weight;
    weight = weight * 3 % 31;
  }
  return code += code_letters[static_cast<std::size_t>((31 - sum % 31) % 31)];
}

std::string receipt_characters() {
  std::string all(digits);
  for (char letter = 'A'; letter <= 'Z'; ++letter) all += letter;
  for (char letter = 'a'; letter <= 'z'; ++letter) all += letter;
  all += " .,:/-*%()+年月日楼室号支行税率亿万元角分整仟佰拾";
  for (const std::string_view digit : capital_digits) all += digit;
  const auto add = [&](const auto& words) {
    for (const std::string_view word : words) all += word;
  };
  add(currency_signs), add(colons), add(amount_names), add(capital_names), add(date_names), add(tax_number_names);
  add(number_names), add(company_names), add(person_names), add(address_names), add(telephone_names);
  add(account_names), add(categories), add(qualities), add(goods_names), add(measures), add(variants), add(models);
  add(units), add(cities), add(name_characters), add(trades), add(company_kinds), add(surnames), add(districts);
  add(roads), add(banks);
  std::string characters;
  std::set<char32_t> seen;
  for (std::string_view rest = all; !rest.empty();) {
    const CodePoint point = first_code_point(rest);
    if (seen.insert(point.value).second) characters += rest.substr(0, point.bytes);
    rest.remove_prefix(point.bytes);
  }
  return characters;
}

std::string receipt_field(Draws& draws) {
  switch (draws.below(20)) {
    case 0:
    case 1:
    case 2:
      return named(draws, amount_names, price(draws));
    case 3:
    case 4:
    case 5:
      return capital_amount(draws);
    case 6:
    case 7:
      return named(draws, date_names, date(draws));
    case 8:
    case 9:
      return named(draws, tax_number_names, tax_number(draws));
    case 10:
      return named(draws, number_names, number_of(draws, draws.among(8, 20)));
    case 11:
      return named(draws, company_names, company(draws));
    case 12:
      return draws.chance(0.5) ? named(draws, person_names, person(draws)) : rate(draws);
    case 13:
      return named(draws, address_names, address(draws));
    case 14:
      return draws.chance(0.5) ? named(draws, telephone_names, telephone(draws))
                               : named(draws, account_names, account(draws));
    default:
      return item(draws);
  }
}

}  // namespace trireme
