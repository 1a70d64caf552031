#!/usr/bin/perl
# plain_text.pl KIND: Chinese text of the files that standard input names, one a line, on standard output: UTF-8, one
# paragraph a line, documents separated by lines that hold only `%`. KIND: man (roff), html, fortune (documents
# separated by `%`, ANSI colours).
# The last line of standard error is: documents, bytes, Han characters. Needs nothing but perl-base.
use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

my $kind = shift @ARGV;
my %readers = (man => \&from_man, html => \&from_html, fortune => \&from_fortune);
my $reader = $readers{$kind} or die "plain_text.pl: unknown kind '$kind'; expected man, html or fortune\n";

my %seen;    # long paragraphs so far: notices that every page repeats are kept once
my ($documents, $bytes, $han) = (0, 0, 0);

for my $file (map { s/\n$//r } <STDIN>) {
  open(my $in, '<', $file) or die "plain_text.pl: $file: $!\n";
  no warnings 'utf8';
  my $text = do { local $/; <$in> };
  print_document($_) for $reader->($text);
}
print STDERR "$documents $bytes $han\n";

# Takes a document as a list of paragraphs; prints what is Chinese in it.
sub print_document {
  my ($paragraphs) = @_;
  my @kept;
  for (@$paragraphs) {
    my $paragraph = clean($_);
    next unless is_chinese($paragraph);
    next if length $paragraph > 12 && $seen{$paragraph}++;
    push @kept, $paragraph;
  }
  pop @kept while @kept && $kept[-1] =~ /^\w{1,8}$/;    # headings of what was not Chinese
  my $text = join("\n", @kept) . "\n";
  my $count = () = $text =~ /\p{Han}/g;
  return if $count < 20;
  print "%\n" if $documents++;
  print $text;
  $han += $count;
  utf8::encode($text);
  $bytes += length $text;
}

sub clean {
  my ($paragraph) = @_;
  # The end of a line is a space between words, and nothing between Chinese characters.
  $paragraph =~ s/(?<=[\p{Han}，。、；：！？）》”])[ \t]*\n\s*(?=[\p{Han}，。、；：！？（《“）》”])//g;
  $paragraph =~ s/[\s\p{Cc}\p{Cf}\x{3000}\x{fffd}]+/ /g;
  $paragraph =~ s/^ | $//g;
  return $paragraph;
}

# Mixed text counts as Chinese; a sentence of English with one Chinese word does not. Tables drawn with lines do not.
sub is_chinese {
  my ($paragraph) = @_;
  return 0 if $paragraph =~ /[\x{2500}-\x{257f}]/;
  my $count = () = $paragraph =~ /\p{Han}/g;
  my $latin = () = $paragraph =~ /[A-Za-z]/g;
  return $count > 0 && $count * 3 >= $latin;
}

sub from_fortune {
  my ($text) = @_;
  $text =~ s/\e?\[[0-9;]*m//g;
  return map { [join_lines(split /\n/)] } split(/^%\n/m, $text);
}

# Lines that were broken at the edge of the page become one paragraph; lines of a poem stay.
sub join_lines {
  my @paragraphs = ('');
  my $continues = 0;
  for my $line (@_) {
    $line =~ s/^\s*(?:--)?\s*|\s+$//g;
    if ($continues && $line ne '') { $paragraphs[-1] .= "\n$line" }
    else                           { push @paragraphs, $line }
    my $wide = () = $line =~ /[\p{Han}\x{3000}-\x{303f}\x{ff00}-\x{ffef}]/g;
    $continues = length($line) + $wide >= 56;
  }
  return @paragraphs;
}

sub from_html {
  my ($text) = @_;
  # Pages of LibreOffice's help carry their text between these two marks.
  $text =~ s/^.*<div id="DisplayArea"[^>]*>//s;
  $text =~ s/<div id="SearchFrame">.*//s;
  $text =~ s/<!--.*?-->//gs;
  $text =~ s/<(head|script|style|nav|header|footer|pre|table)\b.*?<\/\1>/\f/gis;
  $text =~ s/<\/?(?:p|div|h\d|li|ul|ol|dl|dt|dd|br|tr|td|th|section|blockquote|body)\b[^>]*>/\f/gi;
  $text =~ s/<[^>]*>//g;
  my %entities = (lt => '<', gt => '>', quot => '"', apos => "'", nbsp => ' ', amp => '&');
  $text =~ s/&#x([0-9a-f]+);/chr hex $1/gie;
  $text =~ s/&#([0-9]+);/chr $1/ge;
  $text =~ s/&(\w+);/$entities{$1} \/\/ ' '/ge;
  return [split /\f/, $text];
}

sub from_man {
  my ($text) = @_;
  my @paragraphs = ('');
  my ($literal, $skip) = (0, 0);
  for my $line (split /\n/, $text) {
    if ($skip) { $skip = 0 if $line =~ /^\.(?:\.|TE)/; next }
    if ($line =~ /^[.']\s*(de|TS)\b/) { $skip = 1; next }
    if ($line =~ /^[.'](?:\\"|\s*$)/) { push @paragraphs, ''; next }
    if ($line =~ /^[.']\s*(\S+)\s*(.*)/) {
      my ($macro, $arguments) = ($1, $2);
      last if $macro =~ /^S[Hh]$/ && $arguments =~ /跋|翻译|译者|中文版/;    # the translators' notice
      if    ($macro eq 'nf' || $macro eq 'EX') { $literal = 1 }
      elsif ($macro eq 'fi' || $macro eq 'EE') { $literal = 0 }
      if    ($macro =~ /^S[HSshs]$/)              { push @paragraphs, roff_text($arguments), '' }
      elsif ($macro =~ /^(?:[BIR]|SM|SB)$/)       { $paragraphs[-1] .= ' ' . roff_text($arguments) }
      elsif ($macro =~ /^[BIR][BIR]$/)            { $paragraphs[-1] .= ' ' . roff_text($arguments, '') }
      elsif ($macro =~ /^(?:Nm|Ar|Fl|Pa|Em|Xr|Cm|Li|Ql|Dq|Nd|Sq|Va|Fn)$/) { $paragraphs[-1] .= ' ' . roff_text($arguments) }
      else                                        { push @paragraphs, '' }
      next;
    }
    push @paragraphs, '' if $literal || $line =~ /^\s*$/;
    $paragraphs[-1] .= "\n" . roff_text($line, undef);
  }
  return \@paragraphs;
}

# Text of a line without roff's escapes. With `between`, the line is a macro's arguments: quotes are taken off, and
# the arguments joined with it.
sub roff_text {
  my ($line, $between) = (shift, @_ ? $_[0] : ' ');
  my %characters = (aq => "'", dq => '"', co => '©', bu => '·', em => '—', en => '–', lq => '“', rq => '”', oq => '‘', cq => '’', rs => '\\');
  $line = join($between, map { s/^"|"$//gr } $line =~ /"[^"]*"?|(?:\\ |\S)+/g) if defined $between;
  $line =~ s/\\".*//;
  $line =~ s/\\f(?:\[[^\]]*\]|\(..|.)//g;
  $line =~ s/\\[*n](?:\[[^\]]*\]|\(..|.)//g;
  $line =~ s/\\[hvwZ]'[^']*'//g;
  $line =~ s/\\s(?:[-+]?\d+|\[[^\]]*\])//g;
  $line =~ s/\\(?:\((..)|\[([^\]]*)\])/$characters{$1 \/\/ $2} \/\/ ''/ge;
  $line =~ s/\\([-.'`])/$1/g;
  $line =~ s/\\[ ~0]/ /g;
  $line =~ s/\\[e\\]/\\/g;
  $line =~ s/\\[&,\/|^%c:)]//g;
  return $line;
}
