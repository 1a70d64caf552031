// What stands on Chinese receipts and invoices, a field at a time.
#pragma once

#include <cstdint>
#include <string>

#include "io/lines/draws.h"

namespace trireme {

/// An amount as invoices write it out against forgery: 1234.05 is 壹仟贰佰叁拾肆元零伍分, 100 is 壹佰元整.
/// `hundredths` is at most 999,999,999,999.99 yuan.
std::string capital_numerals(std::int64_t hundredths);

/// A unified social credit code (GB 32100-2015), with its check character.
std::string tax_number(Draws& draws);

/// A field, with or without its name: an amount in digits or capital numerals, a date, a tax, invoice, bank account or
/// telephone number, a name of goods with quantity and price, a buyer or seller, an address.
std::string receipt_field(Draws& draws);

/// Every character that a field may have, in a fixed order.
std::string receipt_characters();

}  // namespace trireme
