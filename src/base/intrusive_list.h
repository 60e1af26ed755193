#pragma once
#include "base/check.h"
#include "base/types.h"

namespace pangu {

// A node of one doubly linked list at a time; unlinks itself when destroyed.
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }
  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ != nullptr) {
      previous_->next_ = next_;
      next_->previous_ = previous_;
      next_ = previous_ = nullptr;
    }
  }

 private:
  template <class T>
  friend class IntrusiveList;
  ListNode* next_ = nullptr;
  ListNode* previous_ = nullptr;
};

// A list of objects that derive from ListNode; it owns none of them and allocates nothing.
template <class T>
class IntrusiveList {
 public:
  IntrusiveList() { head_.next_ = head_.previous_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (!empty()) {
      front()->unlink();
    }
    head_.next_ = head_.previous_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  void push_back(T& item) { insert_before(head_, item); }
  void push_front(T& item) { insert_before(*head_.next_, item); }
  T* pop_front() {
    T* item = front();
    if (item != nullptr) {
      static_cast<ListNode*>(item)->unlink();
    }
    return item;
  }
  // The item after `item`, or nullptr.
  T* next(T& item) {
    ListNode* node = static_cast<ListNode&>(item).next_;
    return node == &head_ ? nullptr : static_cast<T*>(node);
  }

 private:
  static void insert_before(ListNode& place, ListNode& node) {
    CHECK(!node.linked());
    node.next_ = &place;
    node.previous_ = place.previous_;
    place.previous_->next_ = &node;
    place.previous_ = &node;
  }
  ListNode head_;
};

}  // namespace pangu
